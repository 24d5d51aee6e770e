//! The zoo: every known bug of this kind, in QEMU and in Linux, and the world in which it is found
//! again.
//!
//! Fixed bugs (Z), those of the kernel (K), and suspicions that come of reading the code (L). A row
//! names the property that the bug breaks, and the least world in which it shows; which run shows
//! it is what a check finds, and stands nowhere here. A bug that is in a variant as it is needs no
//! more than that variant; one that was fixed is planted ([`handoff_model::variants::defects`]),
//! and where its cause is inside of the VMM, what came of it is. A bug of a kernel is found in the
//! kernel that has it: by a check, or where no handoff comes to it by a fact that does not hold
//! there. What cannot be said in worlds like these stands here too, with the reason, and so does
//! what was suspected and is not so.

use crate::scenario::Scenario;
use crate::scenario::builder::ScenarioBuilder;

mod fixed;
mod kernel;
mod scenarios;
mod suspected;

/// A known bug.
#[derive(Debug)]
pub struct KnownBug {
    /// Its letter and number.
    pub id: &'static str,
    /// What goes wrong, in a sentence.
    pub sentence: &'static str,
    /// Where it was seen: commits of QEMU or Linux, mails, versions.
    pub source: &'static str,
    /// Where it is found again.
    pub reproduction: Reproduction,
}

/// Where a bug is found again.
#[derive(Debug)]
pub enum Reproduction {
    /// By a check: the property that it breaks, and in which world.
    Checked(&'static str, fn() -> ScenarioBuilder),
    /// By a row of the conformance suite, which a kernel that has the bug answers otherwise: which
    /// row, which kernel.
    Row(&'static str, &'static str),
    /// By a test of the kernel's own code, which exhausts the interleavings inside of a call; which
    /// test, and where.
    LockModel(&'static str),
    /// Not at all, for it is none: why.
    NotABug(&'static str),
    /// By no check: why not.
    OutOfScope(&'static str),
}

/// Every known bug, by letter and number: Z, K, L.
pub fn all() -> impl Iterator<Item = &'static KnownBug> + Clone {
    fixed::FIXED.iter().chain(kernel::KERNEL).chain(suspected::SUSPECTED)
}

/// By its letter and number.
pub fn find(id: &str) -> Option<&'static KnownBug> {
    all().find(|known| known.id == id)
}

impl KnownBug {
    /// The world in which a check finds it.
    pub fn world(&self) -> Option<ScenarioBuilder> {
        let Reproduction::Checked(_, world) = self.reproduction else { return None };
        Some(world().name(self.id))
    }

    /// The same, resolved.
    pub fn scenario(&self) -> Option<Scenario> {
        Some(self.world()?.build().expect("the zoo's worlds are tested"))
    }
}
