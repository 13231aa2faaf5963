"""What is known of retries before any outcome: complete, sourced, and a site may say otherwise."""

import pytest

from analytics.errors import DataError
from analytics.gpu.retry_priors import shipped_priors, with_site_priors
from analytics.gpu.taxonomy import taxonomy


def test_every_reason_of_the_taxonomy_has_a_prior_and_no_other_has() -> None:
    assert set(shipped_priors().reasons) == set(taxonomy())


def test_what_the_taxonomy_never_retries_has_a_low_prior() -> None:
    priors = shipped_priors()
    assert {
        name for name, row in taxonomy().items() if row.retry == "never" and priors.of(name).success > 0.33
    } == set()


def test_a_reason_without_a_row_is_as_unknown_as_none() -> None:
    priors = shipped_priors()
    assert priors.of("made_up") == priors.of("") == priors.unknown


def test_a_prior_counts_as_many_outcomes_as_its_weight() -> None:
    prior = shipped_priors().of("gpu_ecc")
    assert sum(prior.counts()) == pytest.approx(prior.weight)
    assert prior.counts()[0] / prior.weight == pytest.approx(prior.success)


def test_a_site_file_replaces_rows_and_leaves_the_others() -> None:
    text = "sources: {ours: our cluster in 2026}\nreasons:\n  gpu_ecc: {success: 0.2, weight: 40, source: ours}\n"
    site = with_site_priors(text, "site.yaml")
    assert site.of("gpu_ecc").success == 0.2
    assert site.of("nvlink_error") == shipped_priors().of("nvlink_error")
    assert site.unknown == shipped_priors().unknown
    assert shipped_priors().of("gpu_ecc").success != 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reasons: {gpu_ecc: {success: 1.0, weight: 6, source: unicron}}", "row 'gpu_ecc': success 1.0"),
        ("reasons: {gpu_ecc: {success: .nan, weight: 6, source: unicron}}", "success nan"),
        ("reasons: {gpu_ecc: {success: 0.5, weight: 0, source: unicron}}", "weight 0"),
        ("reasons: {gpu_ecc: {success: 0.5, weight: .inf, source: unicron}}", "weight inf"),
        ("reasons: {gpu_ecc: {success: 0.5, weight: 6, source: hearsay}}", "source 'hearsay'"),
        ("unknown: {success: 2, weight: 6, source: unicron}\nreasons: {}", "row 'unknown': success 2"),
        ("reasons: {gpu_ecc: {succes: 0.5}}", "want `reasons:` with rows"),
        ("reasons: [gpu_ecc", "site.yaml is no YAML"),
        ("", "site.yaml"),
    ],
)
def test_a_wrong_site_file_is_refused_by_its_name_and_row(text: str, said: str) -> None:
    with pytest.raises(DataError, match=r"site\.yaml") as found:
        with_site_priors(text, "site.yaml")
    assert said in str(found.value)
