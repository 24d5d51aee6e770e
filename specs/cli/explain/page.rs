//! Pages of `handoff explain`: labelled texts about one item.

use crate::properties::{Kind, Property, Scope, Setup};
use crate::report::layout::labelled;
use crate::scenario::bugs::{self, KnownBug, Reproduction};
use crate::scenario::corruption::Corruption;
use crate::scenario::errnos;
use crate::scenario::expectation::Expected;
use crate::scenario::library::to_compare;
use crate::scenario::mutants::calls;
use crate::state::system::System;
use handoff_conformance::suite::rows;
use handoff_model::abi::errno::Errno;
use handoff_model::protocol::phase::RolePhase;
use handoff_model::protocol::{Protocol, Rule};
use handoff_model::variants::defects::{self, Defect};
use handoff_model::variants::{self, VARIANTS, Variant};
use handoff_sim_kernel::Hazard;
use std::collections::BTreeSet;
use std::fmt::{Display, Write};

/// The explanation of one item.
pub(super) struct Page {
    head: String,
    /// Texts with their labels. An empty label continues the text above.
    rows: Vec<(&'static str, String)>,
}

impl Page {
    fn new(name: impl Display, kind: impl Display) -> Self {
        Self { head: format!("{name}: {kind}"), rows: Vec::new() }
    }

    fn row(&mut self, label: &'static str, text: impl Into<String>) {
        self.rows.push((label, text.into()));
    }

    /// Adds a row with a list of names, unless the list is empty.
    fn list(&mut self, label: &'static str, names: &[impl Display]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            self.row(label, names.join(", "));
        }
    }

    /// Returns the page as text.
    pub(super) fn text(&self, width: usize) -> String {
        let row = |(label, text): &(&str, String)| labelled(&format!("  {label:<14}"), text, width);
        format!("{}\n{}", self.head, self.rows.iter().map(row).collect::<String>())
    }
}

pub(super) fn property(property: &Property) -> Page {
    let Property { id, title, sentence, reason, severity, scope, on_host, .. } = property;
    let mut page = Page::new(id, format_args!("{title} (property)"));
    page.row("severity", severity.to_string());
    page.row("requirement", *sentence);
    page.row("why", *reason);
    let applies = if *scope == Scope::Always {
        "every scenario".to_owned()
    } else {
        format!("some scenarios; n/a in others, because {}", scope.describe())
    };
    page.row("applies to", applies);
    page.row("kind", describe_kind(property.kind));
    let on_host =
        if *on_host { "`handoff run` evaluates it at the end of a run" } else { "not observable" };
    page.row("on a host", on_host);
    let limited = |it: &&Variant| it.unpromised.iter().any(|(limit, _)| limit == id);
    page.list("not promised", &variants_that(limited));
    let defects: Vec<_> = defects::all().filter(|it| it.breaks == *id).map(|it| it.id).collect();
    if !defects.is_empty() {
        page.row("violated by", format!("defects: {}", defects.join(", ")));
    }
    let violates =
        |bug: &&KnownBug| matches!(bug.reproduction, Reproduction::Checked(of, _) if of == *id);
    let bugs: Vec<_> = bugs::all().filter(violates).map(|bug| bug.id).collect();
    if !bugs.is_empty() {
        page.row("", format!("known bugs: {}", bugs.join(", ")));
    }
    if let Some(scenario) = scenario_for(*scope) {
        page.row("check it", format!("handoff check {scenario} --verbose"));
    }
    if let Some(bug) = bugs.first() {
        page.row("see it fail", format!("handoff bugs {bug}"));
    }
    page
}

/// Describes how a property of a kind is checked.
fn describe_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Invariant(_) => "invariant: evaluated in every reachable state",
        Kind::Action(_) => "action property: evaluated on every transition",
        Kind::Termination => "liveness: the graph of all states has no fair cycle and no deadlock",
        Kind::Possibility(_) => {
            "possibility: from every reachable state a fault-free run reaches a goal (AG EF)"
        }
        Kind::Refinement => {
            "refinement: every transition is an action of the abstract spec, or stutters"
        }
    }
}

/// Returns a built-in scenario to which properties with a scope apply.
fn scenario_for(scope: Scope) -> Option<String> {
    let applies = |(_, scenario): &(String, _)| {
        let Ok(system) = System::new(scenario) else { return false };
        let constants = system.constants();
        let (mode, arms_later) = (constants.protocol.mode, constants.may_arm());
        let (expected, base, kvm) = (constants.expected, &constants.base, constants.kvm);
        scope.covers(&Setup { mode, expected, base, arms_later, kvm })
    };
    to_compare().into_iter().find(applies).map(|(name, _)| name)
}

/// Returns the names of variants, with their modes, that satisfy a condition.
fn variants_that(condition: impl Fn(&&'static Variant) -> bool) -> Vec<String> {
    VARIANTS.iter().filter(condition).map(|it| format!("{} {}", it.id, it.mode)).collect()
}

pub(super) fn hazard(hazard: &Hazard) -> Page {
    let Hazard { code, what, evidence, quirk } = hazard;
    let mut page = Page::new(code, "hazard of the kernel's CHANGE_PROCESS");
    page.row("behaviour", *what);
    page.row("observed", *evidence);
    if quirk.is_some() {
        page.row("avoided by", "kernel = \"fixed\" in a scenario file");
        page.row("see it", "handoff compare");
    }
    let prefix = format!("/{}", code.to_lowercase());
    let facts = rows::all().filter(|fact| fact.name.contains(&prefix));
    page.list("facts", &facts.map(|fact| fact.name).collect::<Vec<_>>());
    page
}

pub(super) fn bug(bug: &KnownBug) -> Page {
    let KnownBug { id, title, sentence, source, reproduction } = bug;
    let mut page = Page::new(id, "known bug");
    page.row("title", *title);
    page.row("description", *sentence);
    page.row("source", *source);
    match reproduction {
        Reproduction::Checked(property, _) => {
            page.row("violates", titled(property));
            if let Some(scenario) = bug.scenario() {
                let variant = scenario.variant;
                page.row("variant", format!("{} {}", variant.id, variant.mode));
                let planted = scenario.defects.iter();
                page.list("planted", &planted.map(|defect| defect.id).collect::<Vec<_>>());
            }
        }
        Reproduction::Row(fact, kernel) => {
            let sentence = rows::all().find(|it| it.name == *fact).map_or("", |it| it.sentence);
            page.row("found by", format!("the fact {fact} of the conformance suite: {sentence}"));
            page.row("kernel", *kernel);
        }
        Reproduction::LockModel(test) => {
            page.row("found by", format!("the test {test} of the simulated kernel's locks"));
        }
        Reproduction::NotABug(reason) => page.row("not a bug", *reason),
        Reproduction::OutOfScope(reason) => page.row("out of scope", *reason),
    }
    page.row("reproduce it", format!("handoff bugs {id}"));
    page
}

/// Returns the name of a property, with its title.
fn titled(id: &str) -> String {
    let title = crate::properties::find(id).map_or("", |property| property.title);
    format!("{id} ({title})")
}

pub(super) fn variant(variant: &Variant) -> Page {
    let Variant { id, mode, sentence, source, kernel, unpromised, .. } = variant;
    let mut page = Page::new(id, format_args!("variant of the protocol, {mode} mode"));
    page.row("description", *sentence);
    page.row("source", *source);
    if let Some(kernel) = kernel {
        page.row("kernel", format!("needs kernel = \"{kernel}\""));
    }
    for (property, limit) in *unpromised {
        page.row("limit", format!("{}: {limit}", titled(property)));
    }
    let protocol = Protocol::of(variant);
    page.row("old process", path(&protocol.outgoing));
    page.row("new process", path(&protocol.incoming));
    page.row("check it", format!("handoff check --variant {id}"));
    page
}

/// Returns the phases of a role that succeeds.
fn path<P: Copy + PartialEq + Display>(rules: &[Rule<P>]) -> String {
    let next = |at: &Rule<P>| rules.iter().find(|rule| rule.phase == at.next).copied();
    let rules = std::iter::successors(rules.first().copied(), next).take(rules.len());
    rules.map(|rule| rule.phase.to_string()).collect::<Vec<_>>().join(" → ")
}

pub(super) fn defect(defect: &Defect) -> Page {
    let Defect { id, sentence, source, variant, mode, breaks, .. } = defect;
    let mut page = Page::new(id, "defect: a known bug that a scenario can plant");
    page.row("description", *sentence);
    page.row("source", *source);
    page.row("variant", format!("{variant} {mode}"));
    page.row("violates", titled(breaks));
    let plants = |bug: &&KnownBug| {
        bug.scenario().is_some_and(|it| it.defects.iter().any(|planted| planted.id == *id))
    };
    page.list("known bugs", &bugs::all().filter(plants).map(|bug| bug.id).collect::<Vec<_>>());
    page.row("plant it", format!("defects = [\"{id}\"] in a scenario file"));
    page
}

pub(super) fn corruption(corruption: &Corruption) -> Page {
    let Corruption { id, sentence, expected, .. } = corruption;
    let mut page = Page::new(id, "corruption: false input that a scenario can inject");
    page.row("description", *sentence);
    page.row(
        "expected",
        match expected {
            Expected::HandedOver => "the handoff succeeds",
            Expected::RefusedBeforeStop => "the handoff is refused before the guest stops",
            Expected::RefusedBeforeChange => "the handoff is refused before anything is changed",
            Expected::NotHandedOver => "the guest is not handed over",
        },
    );
    page.row("inject it", format!("wrong = \"{id}\" in a scenario file"));
    page
}

pub(super) fn phase(place: RolePhase) -> Page {
    let (name, role, purpose) = match place {
        RolePhase::Old(phase) => (phase.to_string(), "old", phase.sentence()),
        RolePhase::New(phase) => (phase.to_string(), "new", phase.sentence()),
    };
    let mut page = Page::new(name, format_args!("phase of the {role} process"));
    page.row("purpose", purpose);
    let has = |it: &&'static Variant| rule(it, place).is_some();
    let mut shown: Vec<_> = VARIANTS.iter().filter(|it| it.id == "safe" && has(it)).collect();
    if shown.is_empty() {
        shown.extend(VARIANTS.iter().find(has));
    }
    for variant in &shown {
        let text = rule(variant, place).unwrap_or_default();
        page.row("rule", format!("{} {}: {text}", variant.id, variant.mode));
    }
    let is_shown = |it: &Variant| shown.iter().any(|of| (of.id, of.mode) == (it.id, it.mode));
    page.list("also in", &variants_that(|it| has(it) && !is_shown(it)));
    if shown.is_empty() {
        let planted = defects::all().filter(|defect| {
            let variant = variants::find(defect.variant, defect.mode).map(Protocol::of);
            variant.is_some_and(|it| has_phase(&defect.plant(it), place))
        });
        page.list("only planted", &planted.map(|defect| defect.id).collect::<Vec<_>>());
    }
    let calls = calls_of(place);
    if calls.is_empty() {
        page.row("calls", "none, in a VM whose devices use iommufd");
    }
    page.list("calls", &calls);
    page
}

/// Describes the rule of a phase in a variant's tables.
fn rule(variant: &Variant, place: RolePhase) -> Option<String> {
    let protocol = Protocol::of(variant);
    match place {
        RolePhase::Old(phase) => {
            let rule = protocol.outgoing.iter().find(|rule| rule.phase == phase)?;
            Some(describe(rule, &protocol.outgoing_jumps))
        }
        RolePhase::New(phase) => {
            let rule = protocol.incoming.iter().find(|rule| rule.phase == phase)?;
            Some(describe(rule, &protocol.incoming_jumps))
        }
    }
}

fn has_phase(protocol: &Protocol, place: RolePhase) -> bool {
    match place {
        RolePhase::Old(phase) => protocol.outgoing.iter().any(|rule| rule.phase == phase),
        RolePhase::New(phase) => protocol.incoming.iter().any(|rule| rule.phase == phase),
    }
}

fn describe<P: Copy + PartialEq + Display>(rule: &Rule<P>, jumps: &[(P, P)]) -> String {
    let Rule { phase, next, undo, tries, is_rollback, in_window, is_committed } = *rule;
    let mut text = format!("then {next}");
    for (_, to) in jumps.iter().filter(|(from, _)| *from == phase) {
        let _ = write!(text, " or, depending on the answer, {to}");
    }
    if tries > 1 {
        let _ = write!(text, "; each call is tried {tries} times");
    }
    match undo {
        Some(undo) => {
            let _ = write!(text, "; on failure {undo}");
        }
        None => text.push_str("; continues if a call fails"),
    }
    let marks = [
        (is_rollback, "part of the rollback"),
        (in_window, "descriptors may be inheritable"),
        (is_committed, "after the point of no return"),
    ];
    for (_, mark) in marks.iter().filter(|(is_set, _)| *is_set) {
        text.extend(["; ", *mark]);
    }
    text
}

/// Returns every protocol: each variant's, then each with a defect planted.
fn protocols() -> impl Iterator<Item = Protocol> {
    let planted = defects::all().filter_map(|defect| {
        let variant = variants::find(defect.variant, defect.mode)?;
        Some(defect.plant(Protocol::of(variant)))
    });
    VARIANTS.iter().map(Protocol::of).chain(planted)
}

/// Returns the names of the calls that a phase makes in the first protocol that has it, for a VM
/// with one of everything, and the errnos with which the checker fails each of them.
fn calls_of(place: RolePhase) -> Vec<String> {
    let Some(protocol) = protocols().find(|it| has_phase(it, place)) else { return Vec::new() };
    let mut names = Vec::new();
    for (_, call) in calls(&protocol).iter().filter(|(of, _)| *of == place) {
        let fails = errnos(call).iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let name = match fails.as_str() {
            "" => format!("{} (never failed)", call.name()),
            fails => format!("{} (failed with {fails})", call.name()),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(super) fn errno(errno: Errno) -> Page {
    let mut page = Page::new(errno, format_args!("errno {} of Linux", errno.number()));
    page.row("meaning", errno.text());
    let in_roles = if errno.is_transient() {
        "transient: a call that fails with it is retried"
    } else {
        "a call that fails with it has failed; the rule of the phase decides what follows"
    };
    page.row("in the roles", in_roles);
    let made: Vec<_> = protocols().flat_map(|protocol| calls(&protocol)).collect();
    let fails = made.iter().filter(|(_, call)| errnos(call).contains(&errno));
    let names: BTreeSet<_> = fails.map(|(_, call)| call.name()).collect();
    let in_checks = if names.is_empty() {
        "the checker fails no call with it".to_owned()
    } else {
        let names: Vec<_> = names.into_iter().collect();
        format!("the checker fails these calls with it: {}", names.join(", "))
    };
    page.row("in a check", in_checks);
    page
}
