//! How much of a role is left: what shows, from where it is alone, that it ends.
//!
//! A phase is as *high* as the longest way from it to an end, over what follows, what undoes, and
//! where an answer may lead ([`crate::protocol::OUT_JUMPS`]). A step of a role goes to a lower
//! phase, or to a later call of its phase, or takes one of its tries away: what is left, compared
//! in this order, becomes less. The one exception is a call that is made again because there is
//! more to come. It leaves as much as there was, and takes something from outside: a message that
//! had arrived, or an interruption.
//!
//! A table with rows that lead back to where they come from promises no end, and has heights all
//! the same: such a row is left out when heights are counted, so a step by it makes *more* be left,
//! or as much. That is how it shows.

use crate::protocol::Rule;
use std::fmt;
use std::hash::{Hash, Hasher};

/// At most so much is left of a role; compared from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgressMeasure {
    /// Phases on the longest way to an end, with this one.
    pub phases: u32,
    /// Calls of this phase.
    pub calls: u32,
    /// Tries of this call.
    pub tries: u8,
}

impl fmt::Display for ProgressMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phases, calls, tries } = self;
        write!(f, "phases {phases}, calls in this one {calls}, tries of this call {tries}")
    }
}

/// A role's rows, and how high each phase is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table<P> {
    pub(crate) rules: Vec<Rule<P>>,
    /// Where an answer leads, besides what follows and what undoes.
    jumps: Vec<(P, P)>,
    /// They follow from the rows.
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

    /// Returns true if a role that walks the table can come to a phase.
    pub(crate) fn names(&self, phase: P) -> bool {
        let of_rules =
            self.rules.iter().flat_map(|rule| [Some(rule.phase), Some(rule.next), rule.undo]);
        let of_jumps = self.jumps.iter().map(|(_, to)| *to);
        of_rules.flatten().chain(of_jumps).any(|named| named == phase)
    }

    /// Where the answer leads that counts otherwise in a phase.
    pub(crate) fn jump(&self, phase: P) -> Option<P> {
        self.jumps.iter().find(|(from, _)| *from == phase).map(|(_, to)| *to)
    }

    /// A phase without a row is an end.
    pub(crate) fn height(&self, phase: P) -> u32 {
        row(&self.rules, phase).map_or(0, |row| self.heights[row])
    }
}

fn row<P: Copy + PartialEq>(rules: &[Rule<P>], phase: P) -> Option<usize> {
    rules.iter().position(|rule| rule.phase == phase)
}

/// The height of a phase. While those behind it are looked at it counts as an end, so that a row
/// that leads back adds nothing.
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

    /// The rows, jumps included, that do not lead to a lower phase.
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
    fn every_row_leads_to_a_lower_phase() {
        for mode in [Mode::Transfer, Mode::Exec] {
            for protocol in [Protocol::safe(mode), Protocol::safe(mode).last_resort()] {
                assert_eq!(rising(&protocol.outgoing, OUT_JUMPS), []);
                assert_eq!(rising(&protocol.incoming, IN_JUMPS), []);
            }
        }
    }

    /// Numbers stand for phases: the longest way goes over rows, ways back and jumps.
    #[test]
    fn heights_are_longest_ways() {
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

    /// Rows that lead back are told; and only of bugs that have some.
    #[test]
    fn only_rows_that_lead_back_rise() {
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
