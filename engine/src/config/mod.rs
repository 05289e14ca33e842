//! Configuration: sing-box 1.12 JSON read into one typed model.
pub mod model;
