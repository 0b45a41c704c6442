//! The simulated day as a picture: calls to STS a minute, by variant.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::VARIANTS;
use super::world::{STORE_OUTAGE, STS_OUTAGE};
use crate::Failure;

/// The picture's file name, below the report.
pub const PICTURE: &str = "simulation.svg";

const SIZE: (u32, u32) = (1000, 520);
/// Below it nothing is drawn: the scale is logarithmic.
const LEAST: f64 = 5.0;
/// An opaque ground, so that the picture is legible on light and on dark pages.
const GROUND: RGBColor = RGBColor(255, 255, 255);
const TEXT: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const SHADE: RGBColor = RGBColor(240, 232, 208);

/// How a variant is drawn: colours that are told apart with every kind of sight (Okabe and Ito's).
fn style(variant: &str) -> (RGBColor, &'static str) {
    match variant {
        "sdk" => (RGBColor(213, 94, 0), "sdk: each by itself"),
        "brs" => (RGBColor(0, 114, 178), "brs: each by itself"),
        "brs_host" => (RGBColor(0, 158, 115), "brs: host cache"),
        _ => (RGBColor(160, 70, 130), "brs: fleet store"),
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
    let top = f64::from(most.unwrap_or(1)).max(10.0) * 1.5;
    let font = |size: i32| ("sans-serif", size).into_font().color(&TEXT);
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..24.0, (LEAST..top).log_scale())?;
    for outage in [STS_OUTAGE, STORE_OUTAGE] {
        let hours = |at: u64| at as f64 / 3600e3;
        let corners = [(hours(outage.start), LEAST), (hours(outage.end), top)];
        chart.draw_series([Rectangle::new(corners, SHADE.filled())])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(GROUND.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(TEXT)
        .x_labels(13)
        .x_label_formatter(&|hour| format!("{hour:.0}"))
        .y_label_formatter(&|calls| grouped(*calls))
        .x_desc("hour of the day")
        .y_desc("calls to STS a minute")
        .label_style(font(15))
        .axis_desc_style(font(16))
        .draw()?;
    for (variant, day) in &days {
        let (colour, name) = style(variant);
        let points = day.iter().enumerate();
        let points =
            points.map(|(minute, calls)| (minute as f64 / 60.0, f64::from(*calls).max(LEAST)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
    }
    for (outage, name) in [(STS_OUTAGE, "STS dead"), (STORE_OUTAGE, "store dead")] {
        let at = (outage.start as f64 / 3600e3 + 0.05, top * 0.85);
        chart.draw_series([Text::new(name, at, font(14))])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate(300, 230))
        .background_style(GROUND.mix(0.9))
        .border_style(FAINT)
        .label_font(font(15))
        .legend_area_size(30)
        .draw()?;
    area.present()?;
    drop(chart);
    Ok(true)
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
