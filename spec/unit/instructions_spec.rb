# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../../rakelib/instructions"

RSpec.describe Instructions do
  def comparison(recorded, counted, recorded_with: { "rustc" => "rustc 1.95.0" })
    Instructions::Comparison.new(recorded: recorded, counted: counted, recorded_with: recorded_with,
                                 counted_with: { "rustc" => "rustc 1.95.0" })
  end

  it "takes the figure out of what callgrind prints" do
    expect(described_class.collected("==1== Events    : Ir\n==1== Collected : 1156695\n==1==\n")).to eq(1_156_695)
    expect { described_class.collected("valgrind: no such file") }.to raise_error(/counted nothing/)
  end

  it "fails for a path that has got more expensive, and names only that" do
    dearer = comparison({ "scan" => 1000, "frame" => 1000 }, { "scan" => 1051, "frame" => 1050 })

    expect(dearer).to be_failed
    expect(dearer.verdict).to eq("More expensive than recorded: scan (+5.1 %). If that is meant to be: rake instructions:record")
  end

  it "says of a path that has got cheaper that it can be recorded" do
    cheaper = comparison({ "scan" => 1000 }, { "scan" => 900 })

    expect(cheaper).not_to be_failed
    expect(cheaper.verdict).to eq("Cheaper than recorded: scan (-10.0 %). So that it stays so: rake instructions:record")
  end

  it "is content within the tolerance" do
    same = comparison({ "scan" => 1000 }, { "scan" => 950 })

    expect(same).not_to be_failed
    expect(same.verdict).to eq("No path is more than 5 % from what is recorded.")
  end

  it "fails for a path that is not recorded, or not counted any more" do
    renamed = comparison({ "old" => 1, "scan" => 1 }, { "new" => 1, "scan" => 1 })

    expect(renamed).to be_failed
    expect(renamed.verdict).to start_with("Recorded and counted paths differ: old, new.")
  end

  it "does not judge figures of another toolchain" do
    other = comparison({ "scan" => 1000 }, { "scan" => 2000 }, recorded_with: { "rustc" => "rustc 1.88.0" })

    expect(other).not_to be_failed
    expect(other.verdict).to start_with("Not judged: recorded with rustc 1.88.0; this is rustc 1.95.0.")
    expect(comparison({}, { "scan" => 1 }, recorded_with: {})).not_to be_failed
  end

  it "shows all figures" do
    expect(comparison({ "scan" => 1000 }, { "scan" => 1_234_567, "frame" => 7 }).table).to eq(
      ["path   instructions per operation  recorded   difference",
       "scan                    1 234 567     1 000  +123356.7 %",
       "frame                           7         -            -"]
    )
  end
end
