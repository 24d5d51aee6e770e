//! Reports as text for people, wrapped to the width of the terminal.

pub mod bugs;
pub mod check;
pub mod compare;
pub mod conform;
pub mod run;

use super::doctor::{Doctor, Status};
use super::layout::labelled;

/// Returns a number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes findings about this host.
pub fn doctor(doctor: &Doctor, width: usize) -> String {
    let mut text = String::new();
    for finding in &doctor.findings {
        let status = match finding.status {
            Status::Pass => "PASS  ",
            Status::Skip => "SKIP  ",
            Status::Warn => "WARN  ",
            Status::Fail => "FAIL  ",
        };
        let answer = format!("{}: {}", finding.question, finding.evidence);
        text.push_str(&labelled(status, &answer, width));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&labelled("      → ", remedy, width));
        }
    }
    text + &match doctor.failed {
        0 => "This host supports a handoff: no check failed.\n".to_owned(),
        1 => "This host does not support a handoff: 1 check failed.\n".to_owned(),
        count => format!("This host does not support a handoff: {count} checks failed.\n"),
    }
}
