import pytest

from callarchive.domain.evidence import Absent, Evidence, Present, Unknown


@pytest.mark.parametrize("finding", [Present(1), Present(None), Absent("HEAD answered 404"), Unknown("timeout")])
def test_a_finding_has_no_truth_value(finding: Evidence[int | None]) -> None:
    with pytest.raises(TypeError, match=type(finding).__name__):
        bool(finding)


def test_findings_are_compared_by_kind_and_content() -> None:
    assert Present(1) == Present(1) != Present(2)
    assert Absent("a") != Unknown("a")
