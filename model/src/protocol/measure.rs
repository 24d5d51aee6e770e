//! The ranking function of the roles, which shows that each terminates.
//!
//! The *height* of a phase is the length of the longest path from it to an end, over successors,
//! undo phases and jumps ([`crate::protocol::OUT_JUMPS`]). A step of a role moves to a lower phase,
//! or to a later call of the same phase, or uses up a try, so the [`ProgressMeasure`] decreases in
//! lexicographic order. The one exception is a call that is repeated because more input may follow:
//! it leaves the measure unchanged and consumes an event from outside, a message that had arrived
//! or an interruption.
//!
//! A table with a cycle does not guarantee termination, but has heights all the same: a rule that
//! leads back is ignored when heights are computed. A step by that rule therefore does not decrease
//! the measure, which is how the cycle is detected.

use crate::protocol::Rule;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Upper bound on the remaining steps of a role; compared lexicographically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgressMeasure {
    /// Number of phases on the longest path to an end, including the present one.
    pub phases: u32,
    /// Remaining calls of this phase.
    pub calls: u32,
    /// Remaining tries of this call.
    pub tries: u8,
}

impl fmt::Display for ProgressMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phases, calls, tries } = self;
        write!(f, "phases {phases}, calls in this one {calls}, tries of this call {tries}")
    }
}

/// A role's rules and the height of each phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table<P> {
    pub(crate) rules: Vec<Rule<P>>,
    /// Additional transitions that an answer can cause, besides successor and undo.
    jumps: Vec<(P, P)>,
    /// The height of each rule's phase, computed from the rules and jumps.
    heights: Vec<u32>,
}

impl<P: Hash> Hash for Table<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rules.hash(state);
        self.jumps.hash(state);
    }
}

impl<P: Copy + PartialEq> Table<P> {
    pub(crate) fn new(rules: Vec<Rule<P>>, jumps: &[(P, P)]) -> Self {
        let mut heights = vec![None; rules.len()];
        for rule in &rules {
            climb(&rules, jumps, &mut heights, rule.phase);
        }
        Self { heights: heights.into_iter().flatten().collect(), jumps: jumps.to_vec(), rules }
    }

    /// Returns true if the phase occurs in a rule or as the target of a jump.
    pub(crate) fn names(&self, phase: P) -> bool {
        let of_rules =
            self.rules.iter().flat_map(|rule| [Some(rule.phase), Some(rule.next), rule.undo]);
        let of_jumps = self.jumps.iter().map(|(_, to)| *to);
        of_rules.flatten().chain(of_jumps).any(|named| named == phase)
    }

    /// Returns the target of the phase's jump.
    pub(crate) fn jump(&self, phase: P) -> Option<P> {
        self.jumps.iter().find(|(from, _)| *from == phase).map(|(_, to)| *to)
    }

    /// Returns the height of a phase: 0, an end, if it has no rule.
    pub(crate) fn height(&self, phase: P) -> u32 {
        row(&self.rules, phase).map_or(0, |row| self.heights[row])
    }
}

fn row<P: Copy + PartialEq>(rules: &[Rule<P>], phase: P) -> Option<usize> {
    rules.iter().position(|rule| rule.phase == phase)
}

/// Computes the height of a phase. While its successors are visited the phase counts as an end, so
/// a rule that leads back does not count.
fn climb<P: Copy + PartialEq>(
    rules: &[Rule<P>],
    jumps: &[(P, P)],
    heights: &mut [Option<u32>],
    phase: P,
) -> u32 {
    let Some(row) = row(rules, phase) else { return 0 };
    if let Some(height) = heights[row] {
        return height;
    }
    heights[row] = Some(0);
    let jumps_to = jumps.iter().filter(|(from, _)| *from == phase).map(|(_, to)| *to);
    let behind: Vec<P> =
        [Some(rules[row].next), rules[row].undo].into_iter().flatten().chain(jumps_to).collect();
    let highest = behind.into_iter().map(|phase| climb(rules, jumps, heights, phase)).max();
    let height = 1 + highest.unwrap_or(0);
    heights[row] = Some(height);
    height
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::protocol::{IN_JUMPS, Mode, OUT_JUMPS, Protocol, Rule, fallible, must_complete};
    use crate::variants::defects::DEFECTS;

    /// Returns the transitions, jumps included, that do not lead to a lower phase.
    fn rising<P: Copy + PartialEq>(rules: &[Rule<P>], jumps: &[(P, P)]) -> Vec<(P, P)> {
        let table = Table::new(rules.to_vec(), jumps);
        let of_rule = |rule: &Rule<P>| {
            let ways = [Some(rule.next), rule.undo].into_iter().flatten();
            ways.map(|next| (rule.phase, next)).collect::<Vec<_>>()
        };
        let has_row = |(from, _): &(P, P)| rules.iter().any(|rule| rule.phase == *from);
        let jumps = jumps.iter().copied().filter(has_row);
        let ways = rules.iter().flat_map(of_rule).chain(jumps);
        ways.filter(|(from, to)| table.height(*to) >= table.height(*from)).collect()
    }

    #[test]
    fn every_rule_leads_to_a_lower_phase() {
        for mode in [Mode::Transfer, Mode::Exec] {
            for protocol in [Protocol::safe(mode), Protocol::safe(mode).last_resort()] {
                assert_eq!(rising(&protocol.outgoing, OUT_JUMPS), []);
                assert_eq!(rising(&protocol.incoming, IN_JUMPS), []);
            }
        }
    }

    /// Numbers stand for phases: longest paths run over successors, undo phases and jumps.
    #[test]
    fn heights_are_longest_paths() {
        let rows = [
            fallible(1, 2, 5),
            fallible(2, 3, 4),
            must_complete(3, 0),
            must_complete(4, 0),
            must_complete(5, 6),
            must_complete(6, 4),
        ];
        let heights = |jumps| {
            let table = Table::new(rows.to_vec(), jumps);
            [0, 1, 2, 3, 4, 5, 6].map(|phase| table.height(phase))
        };
        assert_eq!(heights(&[]), [0, 4, 2, 1, 1, 3, 2]);
        assert_eq!(heights(&[(6, 2)]), [0, 5, 2, 1, 1, 4, 3]);
    }

    /// Cycles are detected, and only bugs that have one are reported.
    #[test]
    fn only_cycles_do_not_decrease() {
        let mut back = Vec::new();
        for defect in DEFECTS {
            let protocol = defect.plant(Protocol::safe(defect.mode));
            let old = rising(&protocol.outgoing, OUT_JUMPS);
            let new = rising(&protocol.incoming, IN_JUMPS);
            back.extend(old.into_iter().map(|way| format!("{}: {way:?}", defect.id)));
            back.extend(new.into_iter().map(|way| format!("{}: {way:?}", defect.id)));
        }
        let expected = [
            "waits-for-each-other: (Committed, AwaitCommit)",
            "waits-for-the-dead: (AwaitPrepared, AwaitPrepared)",
            "begins-anew: (AwaitReady, Offer)",
        ];
        assert_eq!(back, expected);
    }
}
