//! How a world is a handoff in essence, and what is no step of one.
//!
//! A world's [`Handoff`] is read from what can be seen of its machine ([`Sight`]), from what its history and its processes' ends say,
//! and from whether the old process is on its way back, which is all that is asked of a phase. The protocol refines the essence
//! if the first world's is the first state there, each transition leaves it as it is or does what one row does (and what it did may
//! make the old process give up), and a world in which nobody acts any more is one in which no program has anything left to do. Every run of the protocol is
//! then one of the essence with steps that change nothing in between, and what is invariant there is so here.
//!
//! Where one call does many things (the last close and the exit, say) the essence sees the one that matters, and where one thing takes
//! many calls (to own the pages of several contexts) it sees the first and the last.

use crate::action::Side;
use crate::essence::{Essence, Guest, Handoff, Life, Party, Word};
use crate::parts::{Machinery, Player};
use crate::setting::Setting;
use crate::world::World;
use handoff_model::incoming::Incoming;
use handoff_model::outgoing::{Outcome, Outgoing};
use handoff_model::phase::OutPhase;
use handoff_model::view::{
    DescriptorView, DeviceView, FileKind, FileRef, GuestView, InjectedView, PageRun, View,
};
use std::collections::BTreeSet;

/// What can be seen of a machine, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    sides: [OfSide; 2],
    /// The living process that owns every page set.
    owner: Option<Side>,
    /// Every device is as it was, and reaches what it reached.
    as_before: bool,
}

/// What can be seen of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OfSide {
    alive: bool,
    /// Its guest: whether it runs, and how far it has come.
    guest: Option<(bool, Option<u64>)>,
    /// It has every device's file, or that is on its way to it.
    holds: bool,
    /// What devices reach is what its guest sees.
    sees: bool,
}

impl Sight {
    /// What a view shows.
    pub fn of(view: &View, setting: &Setting) -> Self {
        let base = &setting.base;
        let open = base.processes.values().flat_map(|process| process.descriptors.values());
        let is_device = |file: &DescriptorView| file.kind == FileKind::Device;
        let devices: BTreeSet<_> =
            open.filter(|file| is_device(file)).map(|file| file.file).collect();
        let of_side = |side: Side| {
            let Some(process) = view.processes.get(&side.pid()) else { return OfSide::default() };
            let has = |file: &FileRef| {
                let is_coming = side == Side::New && view.in_flight.contains(file);
                is_coming || process.descriptors.values().any(|own| own.file == *file)
            };
            let guest = process.guest.as_ref();
            OfSide {
                alive: process.alive,
                guest: guest.map(|guest| (guest.running, guest.progress)),
                holds: devices.iter().all(has),
                sees: guest.is_none_or(|guest| sees(&guest.ram, view)),
            }
        };
        let owns = |side: &Side| {
            let is_own = |owner, alive| owner == Some(side.pid()) && alive == Some(true);
            view.page_sets.iter().all(|set| is_own(set.owner, set.owner_alive))
        };
        let owner = Side::BOTH.into_iter().find(owns).filter(|_| !view.page_sets.is_empty());
        let as_before = base.devices.iter().all(|(name, before)| {
            let is_so =
                |now| is_as_before(now, before) && has_all_interrupts(name, now, before, view);
            view.devices.get(name).is_some_and(is_so)
        });
        Self { sides: Side::BOTH.map(of_side), owner, as_before }
    }
}

/// Whether whatever devices reach is among these pages.
fn sees(ram: &[PageRun], view: &View) -> bool {
    let is_in = |run: &PageRun, reached: &PageRun| {
        let (here, there) = (run.first, reached.first);
        (here.inode, here.generation) == (there.inode, there.generation)
            && here.index <= there.index
            && there.index + reached.pages <= here.index + run.pages
    };
    let mut reached = view.devices.values().flat_map(|device| device.reach.iter().flatten());
    reached.all(|reach| ram.iter().any(|run| is_in(run, &reach.memory)))
}

fn is_as_before(now: &DeviceView, before: &DeviceView) -> bool {
    let as_it_was = |device: &DeviceView| {
        (device.bound, device.attached, device.bus_master, device.upsets, device.reach.clone())
    };
    let triggers = |device: &DeviceView| -> Vec<_> {
        device.interrupts.iter().map(|interrupt| interrupt.trigger).collect()
    };
    // What the guest arms later triggers something, too.
    as_it_was(now) == as_it_was(before) && triggers(now).starts_with(&triggers(before))
}

/// Whether each interrupt was taken, or waits once. What KVM has for a guest that stands is copied with its state: two processes
/// may have the same, and what died with one of them is in the other's copy, or on its way. So there it is counted once a guest runs.
fn has_all_interrupts(name: &str, now: &DeviceView, before: &DeviceView, view: &View) -> bool {
    let guests = || view.processes.values().filter_map(|process| process.guest.as_ref());
    let injected = |vector: usize| {
        let is_of = |of: &&InjectedView| of.device == name && usize::from(of.vector) == vector;
        let of_guest =
            |guest: &GuestView| guest.injected.iter().filter(is_of).map(|of| of.count).sum();
        guests().map(of_guest).max().unwrap_or(0)
    };
    let runs = guests().any(|guest| guest.running);
    now.interrupts.iter().zip(&before.interrupts).enumerate().all(
        |(vector, (interrupt, before))| {
            let seen = interrupt.delivered + interrupt.pending;
            let is_elsewhere = before.irqfd.is_some() && !runs;
            interrupt.raised >= seen
                && (interrupt.raised <= seen + injected(vector) || is_elsewhere)
        },
    )
}

/// Phases in which the old process has given up, and can have no answer that changes its mind but a commit.
const BACK: &[OutPhase] = {
    use OutPhase as O;
    &[
        O::Drain,
        O::Dismiss,
        O::AwaitGone,
        O::TakeBack,
        O::CloseWindow,
        O::RestoreVaddr,
        O::RestoreWhole,
        O::AbortRestoring,
        O::Unpark,
        O::Resume,
        O::Part,
        O::End,
    ]
};

impl<M, O, I> World<M, O, I>
where
    M: Machinery,
    O: Player<Role = Outgoing, Call = M::Call, Answer = M::Answer>,
    I: Player<Role = Incoming, Call = M::Call, Answer = M::Answer>,
{
    /// What it is in essence.
    pub fn essence(&self, setting: &Setting) -> Handoff {
        let history = &self.rest.history;
        let sight = self.machine.sight(setting);
        let committed = history.committed && !history.fell_back;
        let word = match (committed, history.commit_allowed) {
            (true, _) => Word::Committed,
            (_, true) => Word::Given,
            _ => Word::Open,
        };
        let home = if committed && !self.is_exec() { Side::New } else { Side::Old };
        let works = sight.as_before && sight.sides[home as usize].sees;
        if self.is_exec() {
            let program = self.program();
            let here = self.party(&sight, program, Side::Old, true);
            let gone = Party { life: Life::Gone, guest: Guest::Absent, holds: false };
            let [old, new] = if program == Side::Old { [here, gone] } else { [gone, here] };
            return Handoff { old, new, owner: sight.owner.map(|_| program), works, word };
        }
        let old = self.party(&sight, Side::Old, Side::Old, word != Word::Committed);
        let new = self.party(&sight, Side::New, Side::New, word != Word::Open);
        Handoff { old, new, owner: sight.owner, works, word }
    }

    /// By exec: which program the process runs, or ran when it was killed.
    fn program(&self) -> Side {
        let has_become = self.outgoing.is_absent() && !self.rest.history.fell_back;
        if has_become { Side::New } else { Side::Old }
    }

    /// A program and its process. A guest that stands still counts only where it `may` run.
    fn party(&self, sight: &Sight, program: Side, process: Side, may: bool) -> Party {
        let OfSide { alive, guest, holds, .. } = sight.sides[process as usize];
        let history = &self.rest.history;
        let life = match (alive, history.killed[process as usize]) {
            (true, _) if program == Side::Old && self.is_going_back() => Life::GivesUp,
            (true, _) => Life::Here,
            (false, true) => Life::Killed,
            (false, false) => Life::Gone,
        };
        let guest = match guest {
            Some((true, _)) => Guest::Runs,
            Some((false, progress)) if may && progress == Some(history.progress) => Guest::Stopped,
            _ => Guest::Absent,
        };
        Party { life, guest, holds }
    }

    fn is_going_back(&self) -> bool {
        let is_back = self.outgoing.phase().is_some_and(|phase| BACK.contains(&phase));
        let was_back = self.outgoing.ended().is_some_and(|outcome| outcome != Outcome::HandedOver);
        let history = &self.rest.history;
        history.fell_back || !history.committed && (is_back || was_back)
    }
}

/// What speaks against a step from one state to another.
pub(crate) fn against(essence: &Essence, from: Handoff, to: Handoff) -> Option<String> {
    if essence.allows(from, to) {
        return None;
    }
    let early = essence.between(from, to).next();
    let early = early.map(|row| format!("{}, which it may only when {}", row.name, row.when));
    let parts = told(&from).into_iter().zip(told(&to)).filter(|(before, after)| before != after);
    let changes: Vec<_> =
        parts.map(|((what, before), (_, after))| format!("{what}: {before} → {after}")).collect();
    let what = early.unwrap_or_else(|| "no step of a handoff does this".to_owned());
    Some(format!("{what} ({})", changes.join("; ")))
}

/// A state in words, part by part.
fn told(it: &Handoff) -> [(&'static str, String); 9] {
    let life = |party: &Party| format!("{:?}", party.life).to_lowercase();
    let guest = |party: &Party| format!("{:?}", party.guest).to_lowercase();
    let yes = |is: bool| (if is { "yes" } else { "no" }).to_owned();
    let owner = it.owner.map_or("nobody".to_owned(), |side| format!("{side:?}").to_lowercase());
    [
        ("the old one", life(&it.old)),
        ("the new one", life(&it.new)),
        ("the guest in the old one", guest(&it.old)),
        ("the guest in the new one", guest(&it.new)),
        ("the old one holds the devices", yes(it.old.holds)),
        ("the new one holds the devices", yes(it.new.holds)),
        ("the owner of the pages", owner),
        ("the devices reach the guest", yes(it.works)),
        ("the word", format!("{:?}", it.word).to_lowercase()),
    ]
}
