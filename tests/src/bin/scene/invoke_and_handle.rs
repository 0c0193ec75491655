use crate::Scene;
pub(crate) const SCENES: &[(&str, Scene)] = &[];
