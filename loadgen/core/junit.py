"""PURE: a verdict as JUnit's XML, which CI systems show: a case for the verdict, and one for each requirement."""

from xml.etree.ElementTree import Element, SubElement, tostring

from loadgen.core.verdict import INVALID, Verdict


def junit_xml(name: str, seconds: float, verdict: Verdict) -> str:
    """Return a test suite: failures are requirements that broke, errors whatever could not be told.

    Args:
        name: of the run.
        seconds: that were measured.
        verdict: of the run.
    """
    believable = Element("testcase", name="the run may be believed", classname=name)
    if verdict.level == INVALID:
        _add(believable, "error", "INVALID", [reason.text for reason in verdict.reasons])
    complete = Element("testcase", name="the run is complete", classname=name)
    if verdict.incomplete:
        _add(complete, "error", "incomplete", verdict.incomplete)
    cases = [believable, complete]
    for judged in verdict.requirements:
        case = Element("testcase", name=judged.text, classname=name)
        if judged.held is None or verdict.level == INVALID:
            _add(case, "error", "can't be told", [judged.found])
        elif not judged.held:
            _add(case, "failure", f"{judged.text}: {judged.found}", [judged.found])
        cases.append(case)
    if verdict.reasons:
        SubElement(believable, "system-out").text = "\n".join(f"{r.level}: {r.text}" for r in verdict.reasons)
    suite = Element("testsuite", name=name, tests=str(len(cases)), time=f"{seconds:.3f}")
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(sum(case.find(kind) is not None for case in cases)))
    suite.set("skipped", "0")
    suite.extend(cases)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _add(case: Element, kind: str, message: str, lines: "list[str] | tuple[str, ...]") -> None:
    SubElement(case, kind, message=message).text = "\n".join(lines)
