"""The head of a report says which programs and libraries the tests meet."""

from tests.counterparts.programs import LIBRARIES, PROGRAMS, header, library_version, program_path


def test_what_is_here_is_named_and_so_is_what_is_not() -> None:
    lines = list(header({"nginx": "/usr/sbin/nginx"}.get, {"statsd": "4.0.1"}.get))
    assert lines[0] == "programs that tests run: nginx"
    assert lines[1] == "libraries that tests send with: statsd 4.0.1"
    absent = lines[2].partition(": ")[2].split(", ")
    assert set(absent) == {*PROGRAMS, *LIBRARIES} - {"nginx", "statsd"}


def test_where_all_is_here_nothing_is_said_to_be_missing() -> None:
    assert len(list(header(lambda name: name, lambda name: name))) == 2


def test_programs_and_libraries_are_found_where_they_are() -> None:
    assert program_path("sh")
    assert program_path("no-such-program") is None
    assert library_version("pytest")
    assert library_version("no-such-library") is None
