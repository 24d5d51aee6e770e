//! Mediated devices: `mtty`, the kernel's sample, with its migration states and its DMA logging.

pub(crate) mod dma_logging;
pub(crate) mod migration;
pub(crate) mod mtty;
