//! The phases of a variant as a Mermaid flowchart, with a lane for each process.
//!
//! The graph is made of the tables that the roles execute. A solid edge leads to the next phase, a
//! dashed one to the phase that undoes a failure, a thick one is a jump. Phases that are reachable
//! only after a failure are grey; unreachable phases are omitted.

use handoff_model::protocol::{Protocol, Rule};
use handoff_model::variants::Variant;
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};

/// Returns the flowchart of a variant.
pub fn mermaid(variant: &Variant) -> String {
    let protocol = Protocol::of(variant);
    let mut text = "flowchart LR\n".to_owned();
    lane(&mut text, "old", &protocol.outgoing, &protocol.outgoing_jumps);
    lane(&mut text, "new", &protocol.incoming, &protocol.incoming_jumps);
    text.push_str("    classDef rollback fill:#eee,stroke:#999,color:#666\n");
    text
}

/// Writes the phases of one process as a subgraph.
fn lane<P: Copy + PartialEq + Ord + Debug>(
    text: &mut String,
    side: &str,
    rules: &[Rule<P>],
    jumps: &[(P, P)],
) {
    let Some(first) = rules.first() else { return };
    let all = edges(rules, jumps);
    let forward: Vec<_> = all.iter().filter(|edge| edge.arrow == NEXT).copied().collect();
    let (reached, straight) = (closure(first.phase, &all), closure(first.phase, &forward));
    let _ = writeln!(text, "    subgraph {side}[\"{side} VMM\"]\n        direction TB");
    for phase in &reached {
        let class = if straight.contains(phase) { "" } else { ":::rollback" };
        let _ = writeln!(text, "        {side}_{phase:?}([\"{phase:?}\"]){class}");
    }
    for Edge { from, to, arrow } in all.iter().filter(|edge| reached.contains(&edge.from)) {
        let _ = writeln!(text, "        {side}_{from:?} {arrow} {side}_{to:?}");
    }
    text.push_str("    end\n");
}

const NEXT: &str = "-->";
const UNDO: &str = "-.->";
const JUMP: &str = "==>";

#[derive(Clone, Copy)]
struct Edge<P> {
    from: P,
    to: P,
    arrow: &'static str,
}

fn edges<P: Copy + PartialEq>(rules: &[Rule<P>], jumps: &[(P, P)]) -> Vec<Edge<P>> {
    let has = |phase: P| rules.iter().any(|rule| rule.phase == phase);
    let of_rule = |rule: &Rule<P>| {
        let undo = rule.undo.map(|to| Edge { from: rule.phase, to, arrow: UNDO });
        [Some(Edge { from: rule.phase, to: rule.next, arrow: NEXT }), undo]
    };
    let jump = |(from, to): &(P, P)| Edge { from: *from, to: *to, arrow: JUMP };
    let jumps = jumps.iter().filter(|(from, to)| has(*from) && has(*to)).map(jump);
    rules.iter().flat_map(of_rule).flatten().chain(jumps).collect()
}

/// Returns the phases that are reachable from `first` along these edges.
fn closure<P: Copy + Ord>(first: P, edges: &[Edge<P>]) -> BTreeSet<P> {
    let (mut reached, mut open) = (BTreeSet::from([first]), vec![first]);
    while let Some(at) = open.pop() {
        let next = edges.iter().filter(|edge| edge.from == at).map(|edge| edge.to);
        open.extend(next.filter(|to| reached.insert(*to)));
    }
    reached
}
