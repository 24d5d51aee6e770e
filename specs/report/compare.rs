//! The report of `handoff compare`: the variants of the protocol side by side.

use super::check::{Verdict, VerdictKind};
use schemars::JsonSchema;
use serde::Serialize;

/// What each variant of the protocol keeps.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compare {
    /// The variants, each over the scenarios that it can run.
    pub variants: Vec<Variant>,
}

/// One variant of the protocol.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Variant {
    /// The name of the variant, one of `handoff list variants`.
    pub variant: &'static str,
    /// How the new program comes to life: `transfer` or `exec`.
    pub mode: &'static str,
    /// What the variant does.
    pub sentence: &'static str,
    /// Whether it is one of this project's: only violations of these fail the command.
    pub ours: bool,
    /// How many scenarios it was checked in.
    pub scenarios: usize,
    /// The number of distinct reachable states of all of them together.
    pub states: u64,
    /// How long the checks took.
    pub duration_ms: u64,
    /// For each property the worst verdict of all scenarios, always in the same order.
    pub verdicts: Vec<Cell>,
    /// What the variant does about known hazards of the kernel; empty if none concerns it.
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
    /// What is wrong in the end of the violating run; null for other verdicts.
    pub violation: Option<String>,
    /// What the users of the variant are told instead of this property; null if it is promised.
    pub documented_limit: Option<&'static str>,
    /// The violating run as one word; null for other verdicts.
    pub run: Option<String>,
    /// The command that shows that run; null for other verdicts.
    pub replay: Option<String>,
}

/// What a variant does about a hazard of the kernel.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Hazard {
    /// The short name of the hazard.
    pub hazard: &'static str,
    /// What the kernel does.
    pub evidence: &'static str,
    /// What the variant does about it.
    pub response: Response,
    /// The property that is violated because of the hazard; null for other responses.
    pub property: Option<&'static str>,
    /// The reason that a refusal gives; null for other responses.
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
    /// Whether the property is violated, and the users of the variant were told so.
    pub fn is_not_promised(&self) -> bool {
        self.verdict.verdict == VerdictKind::Violated && self.documented_limit.is_some()
    }
}
