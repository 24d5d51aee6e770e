//! Device files (`vfio`, `iommufd/hw_pagetable`, `hardware`).

mod attach;
mod dma;
mod info;
mod interrupts;

use crate::common::Rig;

fn upsets(rig: &Rig, device: &str) -> u32 {
    rig.machine.view().devices[device].disruptions
}
