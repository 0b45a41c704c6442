//! The simulated day as a picture: calls to STS a minute, by variant.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::world::{STORE_OUTAGE, STS_OUTAGE};
use super::{STS_RATE, VARIANTS};
use crate::Failure;

/// The picture's file name, below the report.
pub const PICTURE: &str = "simulation.svg";

const SIZE: (u32, u32) = (1000, 860);
/// Below it nothing is drawn: the scale is logarithmic.
const LEAST: f64 = 5.0;
/// What STS allows.
const ALLOWED: f64 = STS_RATE * 60.0;
/// An opaque ground, so that the picture is legible on light and on dark pages.
const GROUND: RGBColor = RGBColor(255, 255, 255);
const TEXT: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const DASHES: RGBColor = RGBColor(110, 110, 110);
const SHADE: RGBColor = RGBColor(240, 232, 208);

/// How a variant is drawn: colours that are told apart with every kind of sight (Okabe and Ito's).
fn style(variant: &str) -> (RGBColor, &'static str) {
    match variant {
        "sdk" => (RGBColor(213, 94, 0), "sdk: every process by itself"),
        "brs" => (RGBColor(0, 114, 178), "brs: every process by itself"),
        "brs_host" => (
            RGBColor(0, 158, 115),
            "brs_host: ten processes share a host's cache",
        ),
        _ => (
            RGBColor(160, 70, 130),
            "brs_fleet: all processes share a store",
        ),
    }
}

/// Where a variant's calls a minute are.
pub(super) fn file(folder: &Path, variant: &str) -> PathBuf {
    folder.join(format!("simulation-{variant}.json"))
}

/// Removes what an earlier run has left.
///
/// # Errors
///
/// If that is not possible.
pub fn forget(folder: &Path) -> Result<(), Failure> {
    for variant in VARIANTS {
        match fs::remove_file(file(folder, variant)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Draws the variants that were simulated; says whether there are any.
///
/// # Errors
///
/// If their files cannot be read, or the picture cannot be written.
pub fn draw(folder: &Path) -> Result<bool, Failure> {
    let mut days = Vec::new();
    for variant in VARIANTS {
        let file = file(folder, variant);
        if file.exists() {
            days.push((
                variant,
                serde_json::from_slice::<Vec<u32>>(&fs::read(file)?)?,
            ));
        }
    }
    if days.is_empty() {
        return Ok(false);
    }
    let picture = folder.join(PICTURE);
    let area = SVGBackend::new(&picture, SIZE).into_drawing_area();
    area.fill(&GROUND)?;
    let most = days.iter().flat_map(|(_, day)| day).max().copied();
    let top = f64::from(most.unwrap_or(1)).max(ALLOWED) * 3.0;
    // One below the other on the same scale: lines that rise and fall all day hide each other.
    let panels = area.margin(8, 8, 8, 20).split_evenly((days.len(), 1));
    for (panel, (variant, day)) in panels.iter().zip(&days) {
        draw_one(panel, variant, day, top)?;
    }
    area.present()?;
    Ok(true)
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_one(panel: &Panel<'_>, variant: &str, day: &[u32], top: f64) -> Result<(), Failure> {
    let font = |size: i32| ("sans-serif", size).into_font().color(&TEXT);
    let hours = |at: u64| at as f64 / 3600e3;
    let (colour, name) = style(variant);
    let mut chart = ChartBuilder::on(panel)
        .caption(name, ("sans-serif", 17).into_font().color(&colour))
        .x_label_area_size(40)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..24.0, (LEAST..top).log_scale())?;
    for (outage, name) in [(STS_OUTAGE, "STS dead"), (STORE_OUTAGE, "store dead")] {
        let (start, end) = (hours(outage.start), hours(outage.end));
        let shade = Rectangle::new([(start, LEAST), (end, top)], SHADE.filled());
        chart.draw_series([shade])?;
        chart.draw_series([Text::new(name, (start + 0.05, top * 0.8), font(13))])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(GROUND.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(TEXT)
        .x_labels(13)
        .y_labels(4)
        .x_label_formatter(&|hour| format!("{hour:.0}"))
        .y_label_formatter(&|calls| grouped(*calls))
        .x_desc("hour of the day")
        .y_desc("calls a minute")
        .label_style(font(14))
        .axis_desc_style(font(14))
        .draw()?;
    let allowed = [(0.0, ALLOWED), (24.0, ALLOWED)];
    chart.draw_series(DashedLineSeries::new(allowed, 6, 4, DASHES.into()))?;
    chart.draw_series([Text::new("STS allows", (22.2, ALLOWED * 2.6), font(13))])?;
    let points = day.iter().enumerate();
    let points = points.map(|(minute, calls)| (minute as f64 / 60.0, f64::from(*calls).max(LEAST)));
    chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    Ok(())
}

/// With separators: 10,000.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
