//! Releases and reports: signed generations in folders, measurement lines.
