# frozen_string_literal: true

require "fileutils"
require "tmpdir"

# Firefox with a page, a new profile and no window. The spec cannot control it: the page does everything by itself, and reports to
# the app.
class Firefox
  # No questions, reports or updates.
  SETTINGS = { "app.normandy.enabled" => false, "app.update.enabled" => false, "browser.shell.checkDefaultBrowser" => false,
               "datareporting.policy.dataSubmissionEnabled" => false, "network.captive-portal-service.enabled" => false,
               "network.connectivity-service.enabled" => false, "toolkit.telemetry.enabled" => false }.freeze

  class << self
    def program
      folders = ENV.fetch("PATH").split(":")
      %w[firefox-esr firefox].product(folders).map { |name, folder| File.join(folder, name) }.find { |path| File.executable?(path) }
    end

    # Why there is no Firefox; nil if there is one.
    def missing
      return "There is no Firefox here" unless program

      "#{program} does not run here" unless system(environment, program, "--version", out: File::NULL, err: File::NULL)
    end

    # An unpacked Firefox has its libraries in its folder.
    def environment
      libraries = Dir[File.join(File.dirname(File.realpath(program)), "../*-linux-gnu")]
      { "LD_LIBRARY_PATH" => libraries.any? ? libraries.join(":") : nil, "MOZ_CRASHREPORTER_DISABLE" => "1" }
    end
  end

  def initialize(url)
    @dir = Dir.mktmpdir("push_server-firefox")
    File.write(File.join(@dir, "user.js"), SETTINGS.map { |name, value| "user_pref(#{name.inspect}, #{value});\n" }.join)
    command = [self.class.program, "--headless", "--no-remote", "--profile", @dir, url]
    # In a process group, because it has many processes.
    @pid = spawn(self.class.environment.merge("HOME" => @dir), *command, pgroup: true, in: File::NULL, %i[out err] => File::NULL)
  end

  def stop
    Process.kill("KILL", -@pid)
    Process.wait(@pid)
  ensure
    FileUtils.rm_rf(@dir)
  end
end
