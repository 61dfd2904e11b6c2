# frozen_string_literal: true

require "open3"
require "rbconfig"
require "tmpdir"

# The unit files in docs/systemd, as systemd reads them.
RSpec.describe "The systemd units" do
  folder = File.expand_path("../../docs/systemd", __dir__)
  missing = "systemd-analyze is missing" unless system("systemd-analyze", "--version", out: File::NULL, err: File::NULL)

  # The program of this machine in place of the example's, which is not installed.
  define_method(:verify) do |change = nil|
    Dir.mktmpdir do |dir|
      units = Dir.children(folder).map do |name|
        text = File.read(File.join(folder, name)).gsub("/usr/local/bin/bundle", RbConfig.ruby)
        text = change.call(text) if change
        File.join(dir, name).tap { |path| File.write(path, text) }
      end
      Open3.capture2e("systemd-analyze", "verify", "--man=no", *units)
    end
  end

  it "are valid: a service and its socket", skip: missing do
    out, status = verify
    expect([out, status.exitstatus]).to eq(["", 0])
  end

  it "would not be valid with a mistake", skip: missing do
    out, = verify(->(text) { text.sub("NotifyAccess=main", "NotifyAcess=main") })
    expect(out).to match(/NotifyAcess/)
  end

  it "have what the server needs" do
    service = File.read(File.join(folder, "push_server.service"))
    expect(service.lines.map(&:chomp)).to include("Type=notify", "NotifyAccess=main", "KillMode=mixed", /\AWatchdogSec=\d+\z/,
                                                  /\ARestart=/)
    expect(service[/^TimeoutStopSec=(\d+)/, 1].to_i).to be > 25 # drain_timeout
    expect(File.read(File.join(folder, "push_server.socket"))).to include("\nFileDescriptorName=web\n")
  end

  it "are the ones that docs/deployment.md shows" do
    page = File.read(File.join(folder, "../deployment.md"))
    Dir.children(folder).each { |name| expect(page).to include(File.read(File.join(folder, name)).strip) }
  end
end
