# frozen_string_literal: true

require "spec_helper"

# Restarts leave nothing behind: neither processes nor descriptors nor memory.
RSpec.describe "A server with workers that restarts again and again", transport: :tcp do
  source = "require 'push_server'\nPushServer.channel 'kept', history: 100\nrun ->(_) { PushServer.publish('kept', 'x'); [200, {}, []] }\n"

  define_method(:app_source) { source }

  # KiB of resident memory, and open descriptors. Private memory would grow for a while by itself: the supervisor and the hub share
  # pages until one of them writes there.
  def level(pid)
    memory = File.read("/proc/#{pid}/status")[/^VmRSS:\s+(\d+)/, 1].to_i
    [memory, Dir.children("/proc/#{pid}/fd").size]
  end

  def levels = { supervisor: level(app.pid), hub: level(app.tree.hub.pid) }

  # Restarts, and waits until it is over.
  def restart(signal)
    endings = app.lines.grep(/the phased restart is done/).size
    app.signal(signal)
    eventually("the restart to be done", seconds: 30) { app.lines.grep(/the phased restart is done/).size > endings }
    client = http
    expect(client.get("/").status).to eq(200)
    client.close
    eventually("one leader, one hub and two workers") { app.tree.children.map(&:role).sort == %i[hub leader worker worker] }
  end

  # The levels once no process has a descriptor more for each restart. A connection of a worker that has just ended may be open
  # at either reading, so the two are compared with that much room.
  def levels_without_growth(before, count)
    now = nil
    eventually("the descriptors to be closed: #{before} before") do
      now = levels
      now if now.all? { |part, (_, descriptors)| descriptors < before[part].last + count }
    end
  rescue Deadline::Missed
    raise "descriptors are left open by #{count} restarts: #{before} before, #{now} after"
  end

  def expect_same_level(signal, count)
    start_app(app_source, "-w", 2)
    app.wait_for_line(/All 2 workers serve/)
    3.times { restart(signal) }
    before = levels
    count.times { restart(signal) }
    after = levels_without_growth(before, count)
    RSpec.configuration.reporter.message("    #{count} × #{signal}: KiB and descriptors before #{before}, after #{after}")
    before.each do |part, (memory, _)|
      # Ruby's heap grows and shrinks by itself.
      expect(after[part].first).to be < memory + 8192
    end
    expect(app.stop).to be_success
  end

  { "USR1" => [3, 50], "USR2" => [3, 20] }.each do |signal, (few, many)|
    it("keeps its memory and descriptors at the same level over #{few} restarts by #{signal}") { expect_same_level(signal, few) }
    it("keeps its memory and descriptors at the same level over #{many} restarts by #{signal}", :full) do
      expect_same_level(signal, many)
    end
  end
end
