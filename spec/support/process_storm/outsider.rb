# frozen_string_literal: true

class ProcessStorm
  # A process without a server that publishes. It says on its output what it has published: a line before, and a line with the cursor
  # after.
  class Outsider
    PROGRAM = <<~'RUBY'
      require "push_server"
      $stdout.sync = true
      say = ->(word, rest) { puts "#{word} #{Process.clock_gettime(Process::CLOCK_MONOTONIC)} #{rest}" }
      channels = ARGV
      number = 0
      Signal.trap("TERM") { $stop = true }
      until $stop
        channel = channels[number % channels.size]
        payload = "#{channel} outsider #{number += 1}"
        begin
          say.call("sent", payload)
          say.call("published", PushServer.publish(channel, payload))
        rescue PushServer::Error => e
          say.call("failed", "#{e.class}: #{e.message}")
        end
        sleep 0.05
      end
    RUBY

    attr_reader :failures

    def initialize(app, channels, ledger)
      @app, @channels, @ledger = app, channels, ledger
      @failures = []
    end

    def start
      @io = IO.popen([ENV.to_h.merge("RUBYLIB" => File.join(AppProcess::ROOT, "lib")), RbConfig.ruby, "-e", PROGRAM, *@channels,
                      { chdir: @app.dir, err: %i[child out] }])
      @thread = Thread.new { @io.each_line(chomp: true) { |line| take(line) } }
      @thread.report_on_exception = false
    end

    def stop
      Process.kill("TERM", @io.pid)
      @thread.join(Deadline::PATIENCE) or raise Deadline::Missed, "the outside process did not end"
      @thread.value
      @io.close
      raise "the outside process ended with #{$?}" unless $?.success?
    end

    def kill
      return if @io.nil? || @io.closed?

      Process.kill("KILL", @io.pid)
      @io.close
    end

    private

    def take(line)
      word, time, rest = line.split(" ", 3)
      at = Float(time, exception: false)
      case word
      when "sent"
        @payload, @since = rest, at
        @ledger.sent([rest], at)
      when "published" then @ledger.answered([@payload], [rest], at)
      when "failed" then @failures << Publishers::Failure.new(@since, at, "outside: #{rest}")
      else @ledger.report("the outside process says #{line.inspect}")
      end
    end
  end
end
