//! Known bugs of QEMU with containers, as edits of the variant `type1`.
//!
//! If the cause is a pointer or an assertion inside the VMM, the edit models its effect on system
//! calls: the process exits at that point, or omits calls.

use super::Defect;
use crate::protocol::Mode;
use crate::protocol::phase::{InPhase as I, OutPhase as O};
use crate::variants::Change::{After, Instead, Undo};
use crate::variants::Edit::{In, Out, Waive};
use crate::vm::blocker::BlockerKind;

const BUG: Defect = Defect {
    id: "",
    sentence: "",
    source: "",
    variant: "type1",
    mode: Mode::Transfer,
    breaks: "",
    edits: &[],
};

/// Every defect of the variant `type1`.
pub(super) const DEFECTS: &[Defect] = &[
    Defect {
        id: "dies-restoring",
        sentence: "during rollback the old process dies of an assertion before it restores any \
                   vaddr",
        source: "QEMU 10.1, fixed by 9423094896: an assertion for the new process also runs during \
                 rollback",
        breaks: "VM-3",
        edits: &[
            Out(Instead(O::RestoreVaddr, O::AbortRestoring)),
            Out(Undo(O::AbortRestoring, O::Disconnect)),
        ],
        ..BUG
    },
    Defect {
        id: "dies-restored",
        sentence: "during rollback the old process dies after it has restored the vaddrs",
        source: "QEMU 10.1, fixed by e8c1128bf9: recovery puts back a function pointer that only a \
                 new process had saved",
        breaks: "VM-3",
        edits: &[
            Out(After(O::RestoreVaddr, O::AbortRestoring)),
            Out(Undo(O::AbortRestoring, O::Disconnect)),
        ],
        ..BUG
    },
    Defect {
        id: "sections-restored",
        sentence: "rollback restores the vaddrs of whole memory sections, including parts that \
                   were never mapped",
        source: "QEMU 10.1, fixed by 5a78db7f80: recovery also mapped unpopulated parts of \
                 virtio-mem",
        breaks: "VM-3",
        edits: &[Out(Instead(O::RestoreVaddr, O::RestoreWhole))],
        ..BUG
    },
    Defect {
        id: "first-container-only",
        sentence: "of several containers, only the mappings of the first get new vaddrs",
        source: "QEMU 10.1, fixed by 924c3ccb31: each container saved and restored one class-wide \
                 override",
        breaks: "VA-1",
        edits: &[In(Instead(I::MapVaddr, I::MapVaddrOfFirst))],
        ..BUG
    },
    Defect {
        id: "containers-merged",
        sentence: "the new process mistakes two containers for one: it closes the second, whose \
                   mappings get no vaddrs",
        source: "QEMU 10.1 to 10.2: same_device compares st_dev, which is that of devtmpfs",
        mode: Mode::Exec,
        breaks: "FD-1",
        edits: &[
            In(After(I::MapRam, I::MergeContainers)),
            In(Instead(I::MapVaddr, I::MapVaddrOfFirst)),
        ],
        ..BUG
    },
    Defect {
        id: "mdev-unjudged",
        sentence: "the old process does not check whether the vaddrs of a container can be \
                   invalidated",
        source: "Linux 6.3, ef3a3f6a294b: not with a mediated device, which may access memory \
                 meanwhile",
        breaks: "PRE-1",
        edits: &[Waive(BlockerKind::NoNewAddresses)],
        ..BUG
    },
    Defect {
        id: "nonblocking-received",
        sentence: "the new process sets O_NONBLOCK on the descriptors that it receives, which \
                   affects the old one, too",
        source: "QEMU 10.1, fixed by 7bc2cbe330: O_NONBLOCK is in the open file description, and a \
                 waiting call gets EAGAIN",
        breaks: "READ-1",
        edits: &[In(After(I::ReadStream, I::SetNonblocking))],
        ..BUG
    },
];
