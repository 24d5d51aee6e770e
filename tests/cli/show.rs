//! Tests `handoff show` and `check --steps`: one run, in each format.

use super::{Dir, VM, check, replay_of};

/// Checks each format for the text that its readers need; a trace is passed directly to `handoff
/// replay`.
#[test]
fn a_run_is_written_in_each_format() {
    let dir = Dir::new("format");
    let file = dir.file("vm.toml", &VM.replace("mode", "defects = [\"not-fenced\"]\nmode"));
    let stories = check(&["check", &file, "--verbose"], 1, &["FD-1"]);
    let (_, story) = stories.split_once("\nFD-1 violated").expect("it is told");
    let told = |format| ["check", &file, "--steps", replay_of(story), "--format", format];
    check(&told("story"), 1, &["old VMM  ", "· page set 0 (ram0), owner: old VMM → new VMM"]);
    check(&told("itf"), 1, &["\"format\":\"ITF\"", "\"vars\":[", "\"states\":[", &file]);
    check(&told("mermaid"), 1, &["sequenceDiagram\n", "old->>new: 4. Offer", "FD-1 is violated"]);
    let trace = check(&told("trace"), 1, &["\"source\":\"sim\"", "\"sys\":\"sendmsg\""]);
    let trace = dir.file("vm.jsonl", &trace);
    check(&["replay", &trace], 0, &["0 calls answered differently", "0 calls not modelled"]);
    check(&["check", "transfer", "--steps", "0*3", "--format", "trace"], 0, &["handoff-trace"]);
    check(&["check", "transfer", "--format", "itf"], 2, &["--steps <RUN>"]);
    check(&told("picture"), 2, &["possible values: text, trace, itf, mermaid"]);
}

#[test]
fn an_infinite_run_is_shown_and_replayed() {
    let dir = Dir::new("cycle");
    let planted = VM.replace("mode", "defects = [\"waits-for-the-dead\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let story =
        check(&["check", &file], 1, &["END-1 violated", "the following steps repeat for ever"]);
    let replay = replay_of(&story);
    check(&["check", &file, "--steps", replay], 1, &["can repeat for ever"]);
}

#[test]
fn a_step_that_raises_the_rank_is_shown_and_replayed() {
    let dir = Dir::new("back");
    let planted = VM.replace("mode", "defects = [\"begins-anew\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let words = "raises “progress of the old process” from phases";
    let story = check(&["check", &file], 1, &["END-2 violated in 6 steps", "longest run"]);
    assert!(story.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{story}");
    check(&["check", &file, "--steps", replay_of(&story)], 1, &["END-2 is violated", words]);
}

#[test]
fn a_step_that_no_handoff_has_is_shown_and_replayed() {
    let dir = Dir::new("blind");
    let planted = VM.replace("mode", "defects = [\"word-given-blind\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let words = "no action of the abstract spec allows this change (the decision: undecided → \
                 commit allowed)";
    let story = check(&["check", &file], 1, &["REF-1 violated in 16 steps", words]);
    check(&["check", &file, "--steps", replay_of(&story)], 1, &["REF-1 is violated", words]);
}

/// The answer of an ioctl that was passed as bytes shows that it failed.
#[test]
fn a_refused_ioctl_is_shown_as_refused() {
    let run = ["check", "rfc-v1", "--steps", "0*33.1"];
    let refused = "TakeAddresses: IOMMU_IOAS_CHANGE_PROCESS → ENOMEM (injected)";
    for (format, words) in [
        ("story", refused),
        ("itf", "\"answer\":\"ENOMEM\""),
        ("mermaid", "new-xkernel: 34. TakeAddresses"),
    ] {
        check(&[&run[..], &["--format", format]].concat(), 0, &[words]);
    }
}
