//! Facts about a kernel as text: the facts from which it differs, and sums.

use crate::report::conform::{Fact, FactResult, Kernel, UntestedFact};
use crate::report::layout::labelled;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Writes a fact from which a kernel differs; empty for every other fact.
pub fn fact(fact: &Fact) -> String {
    let Fact { name, sentence, mismatch, .. } = fact;
    let failed = mismatch.as_ref();
    failed.map_or(String::new(), |mismatch| format!("FAIL  {name}: {sentence}\n{mismatch}\n"))
}

/// Writes the number of facts with each result, and the reasons for skipping facts.
pub fn sums(kernel: &Kernel) -> String {
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for missing in kernel.facts.iter().filter_map(|fact| fact.missing.as_deref()) {
        *skipped.entry(missing).or_default() += 1;
    }
    let mut text = String::new();
    for (missing, facts) in skipped {
        let noun = if facts == 1 { "fact needs" } else { "facts need" };
        let _ = writeln!(text, "SKIP  {facts} {noun} {missing}");
    }
    let count = |result| kernel.count(result);
    let _ = writeln!(
        text,
        "{}: {} facts, {} agree, {} differ, {} skipped",
        kernel.kernel,
        kernel.facts.len(),
        count(FactResult::Agrees),
        count(FactResult::Differs),
        count(FactResult::Skipped)
    );
    text
}

/// Writes the facts without a test, or only their number.
pub fn untested(facts: &[UntestedFact], verbose: bool, width: usize) -> String {
    if !verbose {
        return format!("{} facts have no test (--verbose lists them)\n", facts.len());
    }
    let text = |it: &UntestedFact| format!("{}: {}", it.sentence, it.reason);
    facts.iter().map(|it| labelled("NO TEST  ", &text(it), width)).collect()
}
