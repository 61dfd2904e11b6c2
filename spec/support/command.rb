# frozen_string_literal: true

require "rbconfig"
require "tmpdir"
require_relative "app_process"
require_relative "deadline"

# Runs a command that ends by itself, in a temporary folder with the given files, and returns its output and its status.
module Command
  Result = Struct.new(:out, :err, :status) do
    # The lines of stderr. A failure should be one line.
    def complaint = err.lines.map(&:chomp)
    def exitstatus = status.exitstatus
  end

  # The environment for commands: without variables that would change a default.
  ENVIRONMENT = { "RACK_ENV" => nil, "APP_ENV" => nil, "RAILS_ENV" => nil, "PORT" => nil, "RAILS_MAX_THREADS" => nil,
                  "WEB_CONCURRENCY" => nil, "RACKUP_HANDLER" => nil, "RACK_HANDLER" => nil,
                  "RUBYLIB" => [File.join(AppProcess::ROOT, "lib"), ENV.fetch("RUBYLIB", nil)].compact.join(":") }.freeze

  # Ruby for a process without a server: it waits longer for the server than the two seconds of an app, for specs in which a new hub
  # has to start meanwhile.
  PATIENT = "PushServer.const_get(:Outside).then { |outside| outside.publish_to(outside.route.first, timeout: 30) }"

  # files: name => text. dir: an existing folder to run in.
  def run_command(*command, files: {}, env: {}, dir: nil)
    return Dir.mktmpdir("push_server-spec") { |made| run_command(*command, files: files, env: env, dir: made) } unless dir

    files.each { |name, text| File.write(File.join(dir, name), text) }
    capture(command.map(&:to_s), ENVIRONMENT.merge(env), dir)
  end

  # Runs the push_server command of this checkout.
  def push_server(*arguments, **how)
    run_command(RbConfig.ruby, File.join(AppProcess::ROOT, "exe/push_server"), *arguments, **how)
  end

  private

  def capture(command, env, dir)
    pipes = Array.new(2) { IO.pipe }
    pid = spawn(env, *command, chdir: dir, in: File::NULL, out: pipes[0].last, err: pipes[1].last, pgroup: true)
    pipes.each { |_, writer| writer.close }
    waiter = Process.detach(pid)
    readers = pipes.map { |reader, _| Thread.new { reader.read } }
    unless waiter.join(Deadline::PATIENCE)
      Process.kill("KILL", -pid)
      raise Deadline::Missed, "#{command.join(" ")} did not end; it printed:\n#{readers.map(&:value).join}"
    end
    Result.new(*readers.map(&:value), waiter.value)
  end
end
