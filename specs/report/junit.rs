//! Reports as JUnit XML, which CI services read. An undecided case is an error, not a failure.

use super::Body;
use super::suites::{Case, Outcome, Suite, suites};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Writes a report as JUnit XML.
pub(super) fn write(body: &Body) -> String {
    let mut report = Report::new("handoff");
    report.add_test_suites(suites(body).iter().map(suite));
    report.to_string().expect("a report always has an XML form")
}

fn suite(suite: &Suite) -> TestSuite {
    let mut written = TestSuite::new(&suite.name);
    if let Some(duration_ms) = suite.duration_ms {
        written.set_time(Duration::from_millis(duration_ms));
    }
    written.add_test_cases(suite.cases.iter().map(|case| test_case(&suite.name, case)));
    written
}

fn test_case(suite: &str, case: &Case) -> TestCase {
    let failed = TestCaseStatus::non_success;
    let status = match &case.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed { message, text } => {
            let mut status = failed(NonSuccessKind::Failure);
            status.set_type("violated").set_message(message).set_description(text);
            status
        }
        Outcome::Undecided { message } => {
            let mut status = failed(NonSuccessKind::Error);
            status.set_type("undecided").set_message(message);
            status
        }
        Outcome::Skipped { message } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(message);
            status
        }
    };
    let mut written = TestCase::new(&case.name, status);
    written.set_classname(suite);
    written
}
