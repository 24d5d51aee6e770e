//! Reports as text for people, wrapped to the width of the terminal.

pub mod bugs;
pub mod check;
pub mod compare;
pub mod conform;
pub mod run;

use super::doctor::{Doctor, Status};
use super::layout::labelled;

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
        count => format!("This host does not support a handoff: {count} checks failed.\n"),
    }
}
