//! Mediated devices: `mtty`, the kernel's sample driver, with migration states and DMA logging.

mod dma_logging;
mod migration;
mod mtty;
