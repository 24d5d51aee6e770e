//! The report of `handoff compare`: the variants of the protocol side by side.

use super::check::{Verdict, VerdictKind};
use schemars::JsonSchema;
use serde::Serialize;

/// The verdict on each property for each variant of the protocol.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compare {
    /// The variants, each checked in the scenarios that it supports.
    pub variants: Vec<Variant>,
}

/// One variant of the protocol.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Variant {
    /// The name of the variant, one of `handoff list variants`.
    pub variant: &'static str,
    /// The mode of the handoff: `transfer` (to a new process) or `exec` (to a new program in the
    /// same process).
    pub mode: &'static str,
    /// A sentence that describes the variant.
    pub sentence: &'static str,
    /// True if it is one of this project's variants: only their violations make the command fail.
    pub ours: bool,
    /// The number of scenarios in which it was checked.
    pub scenarios: usize,
    /// The number of distinct reachable states, summed over these scenarios.
    pub states: u64,
    /// The duration of the checks, in milliseconds.
    pub duration_ms: u64,
    /// For each property the worst verdict in any scenario, always in the same order.
    pub verdicts: Vec<Cell>,
    /// The responses of the variant to known hazards of the kernel; empty if none concerns it.
    pub hazards: Vec<Hazard>,
}

/// The worst verdict for a property.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Cell {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The scenario with this verdict; empty if no scenario was checked.
    pub scenario: String,
    /// The violation at the end of the violating run; null for other verdicts.
    pub violation: Option<String>,
    /// The documented limit of the variant that replaces this property; null if the variant
    /// promises the property.
    pub documented_limit: Option<&'static str>,
    /// The violating run, encoded as one word; null for other verdicts.
    pub run: Option<String>,
    /// The command that shows that run; null for other verdicts.
    pub replay: Option<String>,
}

/// The response of a variant to a hazard of the kernel.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Hazard {
    /// The short name of the hazard.
    pub hazard: &'static str,
    /// The behaviour of the kernel, and the versions on which it was observed.
    pub evidence: &'static str,
    /// The response of the variant.
    pub response: Response,
    /// The property that is violated because of the hazard; null for other responses.
    pub property: Option<&'static str>,
    /// The reason of the refusal; null for other responses.
    pub reason: Option<String>,
}

/// Responses to a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The hazard does no harm.
    Unharmed,
    /// The handoff is refused.
    Refused,
    /// A property is violated because of the hazard.
    Violated,
}

impl Cell {
    /// Returns true if the property is violated, and a documented limit of the variant covers it.
    pub fn is_not_promised(&self) -> bool {
        self.verdict.verdict == VerdictKind::Violated && self.documented_limit.is_some()
    }
}
