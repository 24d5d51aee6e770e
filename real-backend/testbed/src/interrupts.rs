//! Counts of a device's interrupts, from `/proc/interrupts`.
//!
//! Mirrors: the names that `drivers/vfio/pci/vfio_pci_intrs.c` of Linux 7.3 gives its interrupts.

use handoff_real_backend::sysfs::Bdf;

/// Number of first-vector MSIs of a device, summed over all CPUs; `None` while no handler is
/// registered.
pub fn first_msi(device: Bdf) -> Option<u64> {
    count(&std::fs::read_to_string("/proc/interrupts").ok()?, device)
}

fn count(table: &str, device: Bdf) -> Option<u64> {
    let name = format!("vfio-msi[0]({device})");
    let row = table.lines().find(|row| row.contains(&name))?;
    let counts = row.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok());
    Some(counts.sum())
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_of_all_cpus_are_added() {
        let table = "           CPU0       CPU1\n\
                     \x20 4:          7          0  IO-APIC   4-edge      ttyS0\n\
                     \x2030:          2          3  IR-PCI-MSI-0000:00:05.0   0-edge      \
                     vfio-msi[0](0000:00:05.0)\n";
        let [here, elsewhere] = ["00:05.0", "00:06.0"].map(|text| text.parse().expect("a place"));
        assert_eq!(count(table, here), Some(5));
        assert_eq!(count(table, elsewhere), None);
    }
}
