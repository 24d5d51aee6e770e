//! The small worlds of the zoo, and how its rows are made.

use super::Found::{Checked, Refuted, Row, Unsaid};
use super::{Known, World};
use handoff_model::protocol::Mode;

pub(super) const RAM: &str = "[[ram]]\nname = \"ram0\"\npages = 1\niova = 0x100000\n";
pub(super) const NIC: &str = "[[device]]\nname = \"nic0\"\n";
pub(super) const SECOND: &str = "[[device]]\nname = \"nic1\"\n";
pub(super) const APART: &str = "[[space]]\nname = \"left\"\n[[space]]\nname = \"right\"\n\
                     [[device]]\nname = \"nic0\"\nspace = \"left\"\n[[device]]\nname = \"nic1\"\nspace = \"right\"\n";
pub(super) const BY_ADDRESS: &str = "map = \"address\"\n";
pub(super) const ANONYMOUS: &str = "backing = \"anonymous\"\n";
pub(super) const MDEV: &str = "[[device]]\nname = \"mdev0\"\nkind = \"mdev\"\nneeds_kvm = true\n";
pub(super) const PLAIN_MDEV: &str =
    "[[device]]\nname = \"mdev0\"\nkind = \"mdev\"\ninterrupts = 0\n";
pub(super) const SECOND_RAM: &str = "[[ram]]\nname = \"ram1\"\npages = 1\niova = 0x200000\n";
/// Two containers, each with a device; and nothing goes wrong.
pub(super) const CONTAINERS: &str = concat!(
    "[[space]]\nname = \"left\"\n[[space]]\nname = \"right\"\n",
    "[[device]]\nname = \"nic0\"\nspace = \"left\"\n[[device]]\nname = \"nic1\"\nspace = \"right\"\n",
    "[may]\nfail_calls = 0\nkill = 0\ncancel = false\n"
);
/// Nothing goes wrong, but somebody calls it off.
pub(super) const CALLED_OFF: &str = "[may]\nfail_calls = 0\nkill = 0\n";
/// Nothing goes wrong at all.
pub(super) const UNDISTURBED: &str = "[may]\nfail_calls = 0\nkill = 0\ncancel = false\n";
/// Containers as they were before 6.3.
pub(super) const OLD_TYPE1: &str = "dma = \"type1\"\nkernel = \"6.2\"";
pub(super) const KVM: &str = "kvm = true";

/// QEMU by transfer, and one device.
pub(super) const QEMU: World = World {
    mode: Mode::Transfer,
    variant: "qemu-10.2",
    defects: &[],
    head: "",
    tables: &[RAM, NIC],
};

/// The same by exec.
pub(super) const EXEC: World = World { mode: Mode::Exec, ..QEMU };

/// A container, and one device in it.
pub(super) const TYPE1: World = World { variant: "type1", head: "dma = \"type1\"", ..QEMU };

/// The same by exec.
pub(super) const BY_EXEC: World = World { mode: Mode::Exec, ..TYPE1 };

pub(super) const fn known(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    property: &'static str,
    world: World,
) -> Known {
    Known { id, sentence, source, found: Checked(property, world) }
}

pub(super) const fn unsaid(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    why: &'static str,
) -> Known {
    Known { id, sentence, source, found: Unsaid(why) }
}

/// A bug of a kernel, which answers a row of the conformance suite otherwise.
pub(super) const fn by_row(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    row: &'static str,
    kernel: &'static str,
) -> Known {
    Known { id, sentence, source, found: Row(row, kernel) }
}

/// What was suspected, and is not so.
pub(super) const fn refuted(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    why: &'static str,
) -> Known {
    Known { id, sentence, source, found: Refuted(why) }
}

/// A bug that is planted.
pub(super) const fn plant(world: World, defects: &'static [&'static str]) -> World {
    World { defects, ..world }
}

pub(super) const fn head(world: World, head: &'static str) -> World {
    World { head, ..world }
}

pub(super) const fn with(world: World, tables: &'static [&'static str]) -> World {
    World { tables, ..world }
}
