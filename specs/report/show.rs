//! The report of `handoff show`: one run of one scenario.

use super::check::ScenarioHead;
use super::run::Run;
use schemars::JsonSchema;
use serde::Serialize;

/// One run of a scenario, and the properties that it violates.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Show {
    /// The scenario.
    #[serde(flatten)]
    pub scenario: ScenarioHead,
    /// The run.
    #[serde(flatten)]
    pub run: Run,
}
