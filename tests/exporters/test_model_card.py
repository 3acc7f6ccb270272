"""The model card, read back the way the Hugging Face Hub's own library reads it."""

import functools

import pytest
from hostile import HOSTILE, renamed
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from planted import full_audit, full_report, make_answers, make_judged

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.retention.answers import SkippedQuestion
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report, make_report

full = functools.cache(full_report)


def render(report, spec="model-card"):
    return catalog.build("exporters", spec).render(report)


def results(document):
    """Return the name and the results of the card's model-index."""
    return model_index_to_eval_results(ModelCard(document).data.to_dict()["model-index"])


@pytest.mark.parametrize("checkpoint", ["naive", "ldifs"])
def test_accuracies_drops_and_intervals_are_read_back(checkpoint):
    name, found = results(render(full(), f"model-card:checkpoint={checkpoint}"))
    assert name == checkpoint
    values = {
        (result.dataset_name, result.metric_args["probe"], result.metric_type): result for result in found
    }
    tasks = full().tasks(checkpoint)
    assert len(found) == len(values) == 2 * len(tasks)
    for row in (finding.retention for finding in tasks):
        accuracy = values[row.task, row.probe, "accuracy"]
        drop = values[row.task, row.probe, "accuracy_drop"]
        assert accuracy.metric_value == pytest.approx(row.tuned, abs=1e-6)
        assert drop.metric_value == pytest.approx(row.drop, abs=1e-6)
        assert (drop.metric_args["low"], drop.metric_args["high"]) == pytest.approx(
            (row.low, row.high), abs=1e-6
        )
        assert drop.metric_args["base"] == pytest.approx(row.base, abs=1e-6)
        assert (drop.metric_args["n"], drop.metric_args["confidence"]) == (row.n, 0.95)
        assert drop.verified is None


def test_the_kind_of_task_follows_the_probe():
    _, found = results(render(full()))
    kinds = {(result.metric_args["probe"], result.task_type) for result in found}
    assert kinds == {
        ("zero-shot", "zero-shot-image-classification"),
        ("linear", "image-classification"),
        ("head", "image-classification"),
    }
    names = {result.metric_name for result in found if result.dataset_name == "digits"}
    assert "Accuracy (head, tuned on it)" in names


def test_two_probes_of_one_task_are_both_there():
    counts = {"a": (90, 5, 0, 5), "b": (90, 5, 0, 5)}
    report = make_judged(*(make_answers(counts, probe=probe) for probe in ("head", "linear")))
    _, found = results(render(report))
    assert [result.metric_name for result in found if result.metric_type == "accuracy"] == [
        "Accuracy (head)",
        "Accuracy (linear)",
    ]


def test_a_name_can_be_given():
    document = render(full(), "model-card:model-name=org/my-clip,checkpoint=ldifs")
    assert results(document)[0] == "org/my-clip"
    assert "\n# `org/my-clip`\n" in document


def test_an_unknown_checkpoint_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="unknown checkpoint 'nave': did you mean 'naive'"):
        render(full(), "model-card:checkpoint=nave")


def test_the_page_speaks_of_its_checkpoint_alone():
    page = render(full(), "model-card:checkpoint=ldifs").partition("\n---\n")[2]
    assert "naive" not in page
    assert "**passed: 7 of 7 demands met.**" in page
    assert "- base model: `forgetcheck:tiny`\n- battery: `planted`\n- device: `cpu`\n" in page
    failed = render(full()).partition("\n---\n")[2]
    assert "**NOT passed: 5 of 16 demands failed; " in failed
    assert "ldifs" not in failed


def test_a_rule_that_caught_nothing_is_everyones_failure():
    report = make_report(full_audit(), Policy(concepts=[{"match": "typo", "max_drop": 0.1}]))
    page = render(report, "model-card:checkpoint=ldifs")
    assert "typo (any checkpoint, \\*) could not be asked" in page.replace("`*`", "\\*")


def test_what_could_not_be_asked_of_another_is_not_told():
    audit = full_audit()
    other = SkippedQuestion("gone", "texture", "linear", "its weights are damaged")
    report = make_report(type(audit)(audit.answers, audit.provenance, (other,)), Policy())
    assert "damaged" in render(report, "markdown")
    assert "damaged" not in render(report)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_survives_yaml(name):
    document = render(renamed(full(), name))
    card = ModelCard(document)
    read, found = results(document)
    kept = name or "(no name)"
    assert read == kept
    assert {(result.dataset_name, result.dataset_type) for result in found} == {(kept, kept)}
    assert {result.metric_args["probe"] for result in found} == {name}
    assert card.data.tags == ["forgetcheck"]
    assert card.text.startswith("\n# ")


def test_provenance_of_another_shape_is_left_out():
    report = full()
    odd = Report(report.findings, report.means, report.checks, report.policy, {"base": ["x"], "device": 3})
    page = render(odd).partition("### How it was measured")[2]
    assert "base model" not in page
    assert "device" not in page


def test_a_report_of_nothing_has_no_results():
    card = ModelCard(render(Report((), (), (), Policy(), {})))
    assert card.data.eval_results is None
