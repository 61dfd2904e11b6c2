# frozen_string_literal: true

require "spec_helper"
require "json"
require "push_server/version"

RSpec.describe "The commands to a server with workers" do
  include ServerCommands

  { "with preload" => [], "without preload" => %w[--no-preload] }.each do |how, switches|
    describe how do
      define_method(:serve) do |*options|
        start_cluster(app_of("one"), "--control-socket", control, *switches, *options)
      end

      def status = JSON.parse(command("status", "--json").out, symbolize_names: true)

      # The workers that serve: number => pid.
      def serving = status[:workers].select { |worker| worker[:state] == "ready" }.to_h { |worker| worker.values_at(:number, :pid) }

      it "stop: finishes what is open, and waits until all processes have ended" do
        serve
        pids = [app.pid, *tree.children.map(&:pid)]
        client = waiting_client
        stop = meanwhile("stop")
        app.wait_for_line(/Stopping/)
        expect(status[:state]).to eq("stopping")
        File.write(File.join(app.dir, "go"), "")
        expect(client.read_response.body).to eq("one")
        expect([stop.value.out.lines.last, stop.value.exitstatus]).to eq(["Stopped\n", 0])
        expect(app.wait.exitstatus).to eq(0)
        expect_gone(pids)
        expect(Dir.children(@folder)).to eq([])
      end

      it "phased-restart: says how far it is, and waits until the new code serves" do
        serve
        before = serving
        change("two")
        result = command("phased-restart")
        expect([result.err, result.exitstatus]).to eq(["", 0])
        expect(result.out.lines.first).to match(/being loaded anew/)
        expect(result.out).to match(/^New workers? .*1.* ready/).and end_with("Restarted\n")
        expect(Array.new(8) { answer }.uniq).to eq(["two"])
        expect(serving.keys).to eq(before.keys)
        expect(serving.values & before.values).to eq([])
      end

      it "phased-restart: fails with the reason, and the old workers serve on" do
        serve
        before = serving
        change("two", "raise 'no database'")
        result = command("phased-restart")
        expect(result.complaint).to match([/\Apush_server phased-restart: given up: .*config\.ru:1: no database/])
        expect([result.exitstatus, serving, answer, status[:state]]).to eq([1, before, "one", "serving"])
      end

      it "restart: waits until the new version and its workers serve, in the same process" do
        serve
        before = status
        change("two")
        result = command("restart")
        expect([result.complaint, result.exitstatus]).to eq([[], 0])
        expect(result.out).to end_with("Restarted: push_server #{PushServer::VERSION}, process #{app.pid}\n")
        expect(Array.new(8) { answer }.uniq).to eq(["two"])
        expect(status).to include(pid: before[:pid], urls: before[:urls], state: "serving")
        expect(status[:instance]).not_to eq(before[:instance])
        expect(command("stop").exitstatus).to eq(0)
      end

      it "restart: fails with the reason, and the old version serves on" do
        serve
        FileUtils.mkdir_p(File.join(app.dir, "config"))
        File.write(File.join(app.dir, "config/push_server.rb"), "treads 3")
        before = serving
        result = command("restart")
        expect(result.complaint).to match([%r{\Apush_server restart: not restarted: config/push_server\.rb:1: .*treads}])
        expect([result.exitstatus, serving, answer]).to eq([1, before, "one"])
      end

      it "restart: fails if the new version serves, but the app cannot be loaded" do
        serve
        change("two", "raise 'no database'")
        result = command("restart")
        expect(result.complaint).to match([/\Apush_server restart: .*no database/])
        expect([result.exitstatus, answer]).to eq([1, "one"])
      end

      it "workers: starts and stops some" do
        serve
        expect(command("workers", "+1").out).to eq("3 workers\n")
        expect_eventually("three workers") { serving.keys.sort == [1, 2, 3] }
        expect(command("workers", "-2").out).to eq("1 worker\n")
        expect_eventually("one worker") { serving.keys == [1] && status[:workers].size == 1 }
        expect(command("workers", "2").exitstatus).to eq(0)
        result = command("workers", "0")
        expect([result.complaint, result.exitstatus]).to match([[/must be at least 1/], 1])
        result = command("workers", "1001")
        expect([result.complaint, result.exitstatus]).to match([[/workers: cannot be 1001: give .* to 1000/], 1])
        expect_eventually("two workers") { serving.keys.sort == [1, 2] }
      end

      it "drain: replaces one worker" do
        serve
        before = serving
        expect(command("drain", "2").exitstatus).to eq(0)
        expect_eventually("another worker 2") { serving[2] && serving[2] != before[2] }
        expect(serving[1]).to eq(before[1])
        expect(command("drain", "7").complaint).to match([/there is no worker 7/])
      end

      it "backtraces: logs those of all workers, with the app's own lines" do
        serve
        waiting_client
        expect(command("backtraces").exitstatus).to eq(0)
        [1, 2].each { |number| expect_line(/\[worker #{number}\] backtraces of \d+ threads/) }
        expect_line(/^ *\* config\.ru:5:in .*in_the_app'/)
      end

      it "stats: adds up what all workers have counted" do
        serve
        10.times { answer }
        stats = JSON.parse(command("stats", "--json").out, symbolize_names: true)
        expect(stats[:workers].map { |worker| worker[:number] }).to contain_exactly(1, 2)
        expect(stats[:workers].sum { |worker| worker[:stats][:requests] }).to eq(stats[:stats][:requests])
        expect(stats[:stats][:requests]).to be >= 10
      end

      it "stats: prints a column for all workers together and one for each, then the histograms" do
        serve
        3.times { answer }
        lines = command("stats").out.lines(chomp: true)
        pids = serving
        expect(lines.first(2)).to match([/\A +all +worker 1 +worker 2\z/, /\A +pid #{pids[1]} +pid #{pids[2]}\z/])
        all, *each = lines.find { |line| line.start_with?("requests ") }.split.drop(1).map(&:to_i)
        expect([all, each.sum]).to eq([3, 3])
        expect(lines).to include(/\Arequest_time_2xx +3 times, [\d.]+ ms on average, 99 % within [\d.]+ ms\z/)
          .and include(/\Arequest_time_5xx +none\z/)
      end

      it "status: names the workers" do
        serve
        result = command("status")
        expect(result.out.lines.first).to eq("push_server #{PushServer::VERSION}, process #{app.pid}, serving, 2 workers\n")
        expect(result.out).to match(/^  worker 1: pid \d+, process \d+, generation 1, state ready$/)
      end
    end
  end
end
