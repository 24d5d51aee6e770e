//! Facts about a kernel as text: those that it does not keep, and sums.

use crate::report::conform::{Fact, FactResult, Kernel, UntestedFact};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Writes a fact that a kernel does not keep, and nothing about any other.
pub fn fact(fact: &Fact) -> String {
    let Fact { name, sentence, mismatch, .. } = fact;
    let failed = mismatch.as_ref();
    failed.map_or(String::new(), |mismatch| format!("FAIL  {name}: {sentence}\n{mismatch}\n"))
}

/// Writes how many facts a kernel keeps, and why others were skipped.
pub fn sums(kernel: &Kernel) -> String {
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for missing in kernel.facts.iter().filter_map(|fact| fact.missing.as_deref()) {
        *skipped.entry(missing).or_default() += 1;
    }
    let mut text = String::new();
    for (missing, facts) in skipped {
        let _ = writeln!(text, "SKIP  {facts} for want of {missing}");
    }
    let count = |result| kernel.count(result);
    let _ = writeln!(
        text,
        "{}: {} rows, {} agree, {} differ, {} skipped",
        kernel.kernel,
        kernel.facts.len(),
        count(FactResult::Agrees),
        count(FactResult::Differs),
        count(FactResult::Skipped)
    );
    text
}

/// Writes the facts without a test.
pub fn untested(facts: &[UntestedFact]) -> String {
    let line = |it: &UntestedFact| format!("NO ROW  {}: {}\n", it.sentence, it.reason);
    facts.iter().map(line).collect()
}
