//! The report of `handoff conform`: facts about Linux, and how kernels answer.

use handoff_conformance::suite;
use handoff_conformance::suite::untested::UNTESTED;
use schemars::JsonSchema;
use serde::Serialize;

/// Whether kernels answer as the suite of facts says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Conform {
    /// The kernels that were asked.
    pub kernels: Vec<Kernel>,
    /// Facts that the suite does not test; empty if only some facts were asked for.
    pub untested: Vec<UntestedFact>,
    /// What is missing on this host, so that its kernel was not asked; null if nothing is.
    pub missing: Option<String>,
}

/// One kernel, and how it answers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Kernel {
    /// Which kernel: `simulated kernel` or `kernel of this host`.
    pub kernel: &'static str,
    /// The facts, in the order in which they were asked.
    pub facts: Vec<Fact>,
}

/// A fact, and whether a kernel keeps it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Fact {
    /// The name of the fact.
    pub name: &'static str,
    /// What it says.
    pub sentence: &'static str,
    /// Whether the kernel keeps it.
    pub result: FactResult,
    /// How the kernel answers instead; null unless it differs.
    pub mismatch: Option<String>,
    /// What is missing to ask; null unless the fact was skipped.
    pub missing: Option<String>,
}

/// Results of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactResult {
    /// The kernel keeps the fact.
    Agrees,
    /// The kernel does not keep it.
    Differs,
    /// The kernel could not be asked.
    Skipped,
}

/// A fact without a test.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UntestedFact {
    /// What it says.
    pub sentence: &'static str,
    /// Why there is no test.
    pub reason: &'static str,
}

impl Fact {
    /// Reports what came of a fact.
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
    /// Returns how many facts have a result.
    pub fn count(&self, result: FactResult) -> usize {
        self.facts.iter().filter(|fact| fact.result == result).count()
    }
}

/// Returns all facts that the suite does not test.
pub fn untested() -> Vec<UntestedFact> {
    let fact =
        |it: &suite::untested::Untested| UntestedFact { sentence: it.fact, reason: it.reason };
    UNTESTED.iter().map(fact).collect()
}
