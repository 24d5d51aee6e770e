//! The zoo: every known bug of this kind, in QEMU and in Linux, and the world in which it is found again.
//!
//! Fixed bugs (Z), those of the kernel (K), and suspicions that come of reading the code (L). A row names the property that the bug
//! breaks, and the least world in which it shows; which run shows it is what a check finds, and stands nowhere here. A bug that is in a
//! variant as it is needs no more than that variant; one that was fixed is planted ([`handoff_model::defect`]), and where its cause is inside of the
//! VMM, what came of it is. A bug of a kernel is found in the kernel that has it: by a check, or where no handoff comes to it by a fact
//! that does not hold there. What cannot be said in worlds like these stands here too, with the reason, and so does what was suspected
//! and is not so.

use crate::scenario::Scenario;
use handoff_model::protocol::Mode;

mod fixed;
mod kernel;
mod scenarios;
mod suspected;

/// A known bug.
#[derive(Debug)]
pub struct Known {
    /// Its letter and number.
    pub id: &'static str,
    /// What goes wrong, in a sentence.
    pub sentence: &'static str,
    /// Where it was seen: commits of QEMU or Linux, mails, versions.
    pub source: &'static str,
    /// Where it is found again.
    pub found: Found,
}

/// Where a bug is found again.
#[derive(Debug)]
pub enum Found {
    /// By a check: the property that it breaks, and in which world.
    Checked(&'static str, World),
    /// By a row of the conformance suite, which a kernel that has the bug answers otherwise: which row, which kernel.
    Row(&'static str, &'static str),
    /// By a test of the kernel's own code, which exhausts the interleavings inside of a call; which test, and where.
    Interleaved(&'static str),
    /// Not at all, for it is none: why.
    Refuted(&'static str),
    /// By no check: why not.
    Unsaid(&'static str),
}

/// A small world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// How the new program comes to life.
    pub mode: Mode,
    /// The variant.
    pub variant: &'static str,
    /// Known bugs that are planted.
    pub defects: &'static [&'static str],
    /// What stands before its first table.
    pub head: &'static str,
    /// Its tables: RAM, devices, and what else there is.
    pub tables: &'static [&'static str],
}

/// Every known bug, by letter and number: Z, K, L.
pub fn all() -> impl Iterator<Item = &'static Known> + Clone {
    fixed::FIXED.iter().chain(kernel::KERNEL).chain(suspected::SUSPECTED)
}

/// By its letter and number.
pub fn find(id: &str) -> Option<&'static Known> {
    all().find(|known| known.id == id)
}

impl Known {
    /// The world in which it is found, as a scenario's text.
    pub fn text(&self) -> Option<String> {
        let Found::Checked(_, world) = &self.found else { return None };
        let World { variant, defects, head, .. } = world;
        let mode = if world.mode == Mode::Exec { "exec" } else { "transfer" };
        let (id, tables) = (self.id, world.tables.concat());
        Some(format!(
            "name = \"{id}\"\nmode = \"{mode}\"\nvariant = \"{variant}\"\ndefects = {defects:?}\n{head}\n{tables}"
        ))
    }

    /// The same, read.
    pub fn scenario(&self) -> Option<Scenario> {
        let text = self.text()?;
        Some(Scenario::parse(self.id, &text).expect("the zoo's worlds are tested"))
    }
}
