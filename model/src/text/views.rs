//! Views as text, for counterexamples and reports, and the differences between two of them.

use crate::abi::ids::Pid;
use crate::abi::view::{
    Account, DeviceView, GuestView, InjectedView, InterruptView, MappingView, PageRef, PageRun,
    PageSetView, ProcessView, View,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The facts of a view, by subject.
pub type Facts = BTreeMap<String, String>;

/// Names of the processes and of the guest's memory in a view.
#[derive(Clone, Copy)]
pub struct Namer<'a> {
    /// Returns the name of a process.
    pub process: &'a dyn Fn(Pid) -> String,
    /// Returns the name of the memory with this inode, such as a block of guest RAM.
    pub memory: &'a dyn Fn(u64) -> String,
}

impl fmt::Debug for Namer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namer").finish_non_exhaustive()
    }
}

impl Namer<'_> {
    fn run(&self, pages: &PageRun) -> String {
        let PageRef { inode, index, generation } = pages.first;
        let replaced = match generation {
            0 => String::new(),
            times => format!(", replaced {times} times"),
        };
        let name = (self.memory)(inode);
        format!("pages {index}..{} of {name}{replaced}", index + pages.pages)
    }
}

/// Returns the facts of a view.
pub fn facts(view: &View, namer: Namer<'_>) -> Facts {
    let process = namer.process;
    let mut facts = Facts::new();
    for (pid, seen) in &view.processes {
        of_process(&mut facts, &process(*pid), seen, namer);
    }
    for (at, set) in view.page_sets.iter().enumerate() {
        of_page_set(&mut facts, at, set, namer);
    }
    facts.extend(view.mappings.iter().map(|mapping| {
        let MappingView { context, ioas, range, memory, .. } = mapping;
        (format!("IOAS {ioas} of iommufd {context}, {range}"), namer.run(memory))
    }));
    facts.insert("descriptors in flight".to_owned(), format!("{}", view.in_flight.len()));
    for (account, pages) in &view.books {
        let whose = match account {
            Account::User(uid) => format!("user {uid}"),
            Account::Process(pid) => process(*pid),
        };
        facts.insert(format!("charged to {whose}"), format!("{pages} pages"));
    }
    for (name, device) in &view.devices {
        of_device(&mut facts, name, device, namer);
    }
    facts
}

fn of_process(facts: &mut Facts, who: &str, seen: &ProcessView, namer: Namer<'_>) {
    let mut say = |what: &str, value: String| facts.insert(format!("{who}{what}"), value);
    let life = if seen.alive { "alive" } else { "dead" };
    let running = |guest: &GuestView| if guest.running { "guest runs" } else { "guest stopped" };
    let guest = seen.guest.as_ref().map_or("no guest", running);
    say("", format!("{life}, {guest}"));
    if let Some(guest) = &seen.guest {
        let progress = guest.progress.map_or("unknown".to_owned(), |steps| format!("step {steps}"));
        say(", guest progress", progress);
        let ram = guest.ram.iter().map(|pages| namer.run(pages)).collect::<Vec<_>>();
        let ram = if ram.is_empty() { "none".to_owned() } else { ram.join(", ") };
        say(", guest memory", ram);
        let waits = |of: &InjectedView| format!("{} of {}.{}", of.count, of.device, of.vector);
        if !guest.injected.is_empty() {
            let waits = guest.injected.iter().map(waits).collect::<Vec<_>>().join(", ");
            say(", interrupts pending in KVM", waits);
        }
    }
    say(", descriptors", format!("{}", seen.descriptors.len()));
    let inherit = seen.descriptors.values().filter(|descriptor| !descriptor.cloexec).count();
    say(", inheritable descriptors", format!("{inherit}"));
    if let Some(pages) = seen.vm_pin_pages {
        facts.insert(format!("VmPin of {who}"), format!("{pages} pages"));
    }
}

fn of_page_set(facts: &mut Facts, at: usize, set: &PageSetView, namer: Namer<'_>) {
    let process = namer.process;
    let name = format!("page set {at} ({})", (namer.memory)(set.memory.first.inode));
    let owner = match (set.owner, set.owner_alive) {
        (Some(owner), Some(true)) => process(owner),
        (Some(owner), _) => format!("{}, whose memory map no longer exists", process(owner)),
        (None, _) => "not observable".to_owned(),
    };
    let counts = format!("{} and {}", set.pinned_pages, set.charged_pages);
    let replaced = format!("{} times", set.memory.first.generation);
    facts.insert(format!("{name}, owner"), owner);
    facts.insert(format!("{name}, pinned and charged pages"), counts);
    facts.insert(format!("{name}, replaced"), replaced);
    if let Some(awaits) = set.awaits_address {
        let address = if awaits { "awaited" } else { "known" };
        facts.insert(format!("{name}, address"), address.to_owned());
    }
}

fn of_device(facts: &mut Facts, name: &str, device: &DeviceView, namer: Namer<'_>) {
    let mut say = |what: &str, value: String| facts.insert(format!("{name}, {what}"), value);
    let attached = device.attached.map_or("nothing".to_owned(), |(_, ioas)| format!("IOAS {ioas}"));
    say("attached to", attached);
    say("bound", if device.bound { "yes" } else { "no" }.to_owned());
    say("resets and detaches", format!("{}", device.disruptions));
    if let Some(may) = device.bus_master {
        say("may do DMA", if may { "yes" } else { "no" }.to_owned());
    }
    for reach in device.reach.iter().flatten() {
        let pinned = if reach.pinned { "" } else { ", not pinned" };
        say(
            &format!("reaches at {}", reach.range),
            format!("{}{pinned}", namer.run(&reach.memory)),
        );
    }
    for (vector, irq) in device.interrupts.iter().enumerate() {
        let InterruptView { raised, delivered, pending, irqfd, .. } = irq;
        let counts = format!("raised {raised}, delivered {delivered}, pending {pending}");
        say(&format!("interrupt {vector}"), counts);
        if let Some(pid) = irqfd {
            say(&format!("interrupt {vector}, irqfd"), format!("KVM of {}", (namer.process)(*pid)));
        }
    }
}

/// A fact that differs between two views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The subject.
    pub subject: String,
    /// The value in the first view; "none" if it has no such fact.
    pub before: String,
    /// The value in the second view; "none" if it has no such fact.
    pub after: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.subject, self.before, self.after)
    }
}

/// Returns the facts that differ, sorted by subject.
pub fn differences(before: &Facts, after: &Facts) -> Vec<Difference> {
    let subjects: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let said =
        |facts: &Facts, subject| facts.get(subject).map_or("none", String::as_str).to_owned();
    (subjects.into_iter())
        .filter(|subject| before.get(*subject) != after.get(*subject))
        .map(|subject| Difference {
            subject: subject.clone(),
            before: said(before, subject),
            after: said(after, subject),
        })
        .collect()
}
