//! Tests the kernel's hazards H1, H2 and H3 as violated properties: on 7.3 with a minimal trace; on
//! a kernel with the hazard fixed, every property is proved.

use handoff_checker::search::Limits;
use handoff_sim_kernel::{Profile, Quirk};
use handoff_specs::check::{Report, Verdict, check};
use handoff_specs::scenario::Scenario;

/// A hazard, and a scenario in which it shows.
pub(crate) struct Hazard {
    quirk: Quirk,
    file: &'static str,
    text: &'static str,
    /// The property that it breaks.
    pub(crate) breaks: &'static str,
    /// The faults and the steps of its minimal trace.
    cheapest: (u32, usize),
}

macro_rules! hazard {
    ($quirk:ident, $file:literal, $breaks:literal, $cheapest:expr) => {
        Hazard {
            quirk: Quirk::$quirk,
            file: $file,
            text: include_str!(concat!("../../specs/scenario/library/", $file)),
            breaks: $breaks,
            cheapest: $cheapest,
        }
    };
}

pub(crate) const HAZARDS: &[Hazard] = &[
    hazard!(DoubleCharge, "hazard-k1.toml", "DONE-1", (0, 45)),
    hazard!(PinnedDrift, "hazard-k2.toml", "PIN-2", (0, 47)),
    hazard!(DeadOwner, "hazard-k3.toml", "CHG-1", (0, 67)),
];

impl Hazard {
    fn scenario(&self) -> Scenario {
        Scenario::parse(self.file, self.text).expect("a scenario")
    }

    fn report(&self, kernel: Profile) -> Report {
        let scenario = Scenario { kernel, ..self.scenario() };
        check(&scenario, Limits::default()).expect("it can be set up")
    }
}

#[test]
fn each_hazard_of_the_kernel_is_a_violated_property() {
    let mut wrong = Vec::new();
    for hazard in HAZARDS {
        let kernel = hazard.scenario().kernel;
        assert_eq!(kernel.name(), "7.3");
        // Also with only this hazard, so that the violation is due to it.
        let others = Quirk::ALL.into_iter().filter(|quirk| *quirk != hazard.quirk);
        for kernel in [kernel, others.fold(kernel, Profile::without)] {
            let report = hazard.report(kernel);
            let violated: Vec<_> = report
                .violations()
                .map(|(property, run)| (property.id, (run.faults, run.actions.len())))
                .collect();
            if !violated.contains(&(hazard.breaks, hazard.cheapest)) {
                wrong.push((kernel, violated));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn with_the_hazard_fixed_every_property_is_proved() {
    let fixed = Profile::by_name("fixed").expect("a profile");
    for hazard in HAZARDS {
        for kernel in [fixed, hazard.scenario().kernel.without(hazard.quirk)] {
            let report = hazard.report(kernel);
            assert_eq!(report.stopped_by, None);
            for (property, verdict) in &report.verdicts {
                let is_asked = !matches!(verdict, Verdict::NotApplicable(_));
                let good = *verdict == Verdict::Proved || !is_asked;
                assert!(good, "{}: {} is {verdict:?}", hazard.quirk.code(), property.id);
                assert!(is_asked || property.id != hazard.breaks, "{} is checked", property.id);
            }
        }
    }
}
