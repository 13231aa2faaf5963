"""`tailwatch tail attribute`: why the slow ones of recorded requests were slow."""

import argparse


def run(args: argparse.Namespace) -> int:
    """Give each slow request its cause; shares by load, and the slowest ones."""
    from analytics.tail.cause_plots import plot_causes
    from tailwatch.tail_attribute_report import as_dict, as_text, attributed
    from tailwatch.tail_recordings import answer, described, heading, image_kind, recording_of, written

    recording = recording_of(args)
    found = attributed(
        recording, threads=args.threads, target_ms=args.target_ms, percentile=args.percentile, slowest=args.slowest
    )
    said = described(args, recording.files, recording.max_degree)
    answer(args, {**said, **as_dict(found)}, f"{heading(said)}\n{as_text(found)}")
    if args.plot:
        title = f"requests above {args.target_ms:g} ms"
        written(args.plot, plot_causes(found.by_load, found.loads, title, image_kind(args.plot)), "drawn into")
    return 0
