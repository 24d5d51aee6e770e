//! A variant as a picture: the phases of both roles, and where each leads, for Graphviz.
//!
//! The picture is made of the tables that the roles walk. A line is what follows, a dashed one the
//! way back, a dotted one a jump; what can only be come to on the way back, or not at all from the
//! beginning, is grey or left out.

use handoff_model::protocol::{Protocol, Rule};
use handoff_model::variants::Variant;
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};

/// The picture, in DOT.
pub fn dot(variant: &Variant) -> String {
    let protocol = Protocol::of(variant);
    let mode = variant.mode;
    let mut text = format!("digraph \"{}, {mode}\" {{\n", variant.id);
    text.push_str("    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    cluster(&mut text, "old", &protocol.outgoing, &protocol.outgoing_jumps);
    cluster(&mut text, "new", &protocol.incoming, &protocol.incoming_jumps);
    text.push_str("}\n");
    text
}

fn cluster<P: Copy + PartialEq + Ord + Debug>(
    text: &mut String,
    side: &str,
    rules: &[Rule<P>],
    jumps: &[(P, P)],
) {
    let Some(first) = rules.first() else { return };
    let all = edges(rules, jumps);
    let forward: Vec<_> = all.iter().filter(|edge| edge.style == "solid").copied().collect();
    let (reached, straight) = (closure(first.phase, &all), closure(first.phase, &forward));
    let _ = writeln!(text, "    subgraph cluster_{side} {{\n        label=\"{side} process\";");
    for phase in &reached {
        let color = if straight.contains(phase) { "black" } else { "gray50" };
        let _ = writeln!(text, "        {side}_{phase:?} [label=\"{phase:?}\", color={color}];");
    }
    for Edge { from, to, style } in all.iter().filter(|edge| reached.contains(&edge.from)) {
        let _ = writeln!(text, "        {side}_{from:?} -> {side}_{to:?} [style={style}];");
    }
    text.push_str("    }\n");
}

#[derive(Clone, Copy)]
struct Edge<P> {
    from: P,
    to: P,
    style: &'static str,
}

fn edges<P: Copy + PartialEq>(rules: &[Rule<P>], jumps: &[(P, P)]) -> Vec<Edge<P>> {
    let has = |phase: P| rules.iter().any(|rule| rule.phase == phase);
    let of_rule = |rule: &Rule<P>| {
        let undo = rule.undo.map(|to| Edge { from: rule.phase, to, style: "dashed" });
        [Some(Edge { from: rule.phase, to: rule.next, style: "solid" }), undo]
    };
    let jump = |(from, to): &(P, P)| Edge { from: *from, to: *to, style: "dotted" };
    let jumps = jumps.iter().filter(|(from, to)| has(*from) && has(*to)).map(jump);
    rules.iter().flat_map(of_rule).flatten().chain(jumps).collect()
}

/// What can be come to.
fn closure<P: Copy + Ord>(first: P, edges: &[Edge<P>]) -> BTreeSet<P> {
    let (mut reached, mut due) = (BTreeSet::from([first]), vec![first]);
    while let Some(at) = due.pop() {
        let next = edges.iter().filter(|edge| edge.from == at).map(|edge| edge.to);
        due.extend(next.filter(|to| reached.insert(*to)));
    }
    reached
}
