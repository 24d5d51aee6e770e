//! The report of `handoff conform`: facts about Linux, and whether kernels agree with them.

use handoff_conformance::suite;
use handoff_conformance::suite::untested::UNTESTED;
use schemars::JsonSchema;
use serde::Serialize;

/// The results of the conformance suite on one or more kernels.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Conform {
    /// The kernels that were tested.
    pub kernels: Vec<Kernel>,
    /// Facts without a test; empty if the command line selects facts by name.
    pub untested: Vec<UntestedFact>,
    /// The precondition that this host lacks, so that its kernel was not tested; null if it was
    /// tested, or was not selected.
    pub missing: Option<String>,
}

/// The results of one kernel.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Kernel {
    /// The kernel: `simulated kernel` or `kernel of this host`.
    pub kernel: &'static str,
    /// The facts, in the order in which they were tested.
    pub facts: Vec<Fact>,
}

/// A fact, and the result of its test.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Fact {
    /// The name of the fact.
    pub name: &'static str,
    /// The fact, in a sentence.
    pub sentence: &'static str,
    /// The result of its test.
    pub result: FactResult,
    /// The expected and the actual answers; null unless the kernel differs.
    pub mismatch: Option<String>,
    /// The precondition that is missing; null unless the fact was skipped.
    pub missing: Option<String>,
}

/// Results of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactResult {
    /// The kernel agrees with the fact.
    Agrees,
    /// The kernel differs from the fact.
    Differs,
    /// The fact could not be tested.
    Skipped,
}

/// A fact without a test.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UntestedFact {
    /// The fact, in a sentence.
    pub sentence: &'static str,
    /// The reason why no test exists.
    pub reason: &'static str,
}

impl Fact {
    /// Returns the report of a fact's verdict.
    pub fn new(fact: &suite::Fact, verdict: suite::Verdict) -> Self {
        let (result, mismatch, missing) = match verdict {
            suite::Verdict::Agrees => (FactResult::Agrees, None, None),
            suite::Verdict::Differs(found) => (FactResult::Differs, Some(found.to_string()), None),
            suite::Verdict::Skipped(missing) => (FactResult::Skipped, None, Some(missing)),
        };
        Self { name: fact.name, sentence: fact.sentence, result, mismatch, missing }
    }
}

impl Kernel {
    /// Returns the number of facts with a result.
    pub fn count(&self, result: FactResult) -> usize {
        self.facts.iter().filter(|fact| fact.result == result).count()
    }
}

/// Returns all facts that have no test.
pub fn untested() -> Vec<UntestedFact> {
    let fact =
        |it: &suite::untested::Untested| UntestedFact { sentence: it.fact, reason: it.reason };
    UNTESTED.iter().map(fact).collect()
}
