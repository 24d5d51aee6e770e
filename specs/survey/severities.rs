//! The table at the top of the README: variants, and the damage that each can do.

use super::compare::Column;
use crate::check::Verdict;
use crate::properties::Severity;
use std::fmt::Write;

/// Writes a Markdown table with a row for each variant and a column for each severity: the number
/// of properties that the variant violates, without its documented limits.
pub fn severities(columns: &[Column]) -> String {
    let severities = Severity::ALL.map(|severity| format!(" {severity} |")).concat();
    let rule = Severity::ALL.map(|_| "---|").concat();
    let mut text = format!("| protocol |{severities} reachable states |\n|---|{rule}---:|\n");
    for column in columns {
        let variant = column.variant;
        let mark = if variant.is_ours { "**" } else { "" };
        let _ = write!(text, "| {mark}{}, {}{mark} |", variant.id, variant.mode);
        for severity in Severity::ALL {
            let _ = write!(text, " {} |", damage(column, severity));
        }
        let _ = writeln!(text, " {} |", column.states);
    }
    text
}

/// Returns "proved" if every applicable property of a severity is proved.
fn damage(column: &Column, severity: Severity) -> String {
    let of_severity = || column.verdicts().filter(|(property, _)| property.severity == severity);
    let count = |wanted: fn(&Verdict) -> bool| {
        let counted = of_severity().filter(|(property, cell)| {
            wanted(&cell.verdict) && column.documented_limit(property).is_none()
        });
        counted.count()
    };
    let violated = count(|verdict| matches!(verdict, Verdict::Violated(_)));
    let open = count(|verdict| !matches!(verdict, Verdict::Proved | Verdict::NotApplicable(_)));
    match (violated, open) {
        (0, 0) => "proved".to_owned(),
        (0, _) => "undecided".to_owned(),
        (1, _) => "1 violated".to_owned(),
        (count, _) => format!("{count} violated"),
    }
}
