//! Mediated devices: `mtty`, the kernel's sample, with its migration states and its DMA logging.

mod dma_logging;
mod migration;
mod mtty;
