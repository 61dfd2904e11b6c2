# frozen_string_literal: true

require "spec_helper"

# Another version of push_server: a copy of its Ruby files, which `lib` in the load path names from some moment on.
RSpec.describe "Another version of push_server under a running server", transport: :tcp do
  before { @folder = Dir.mktmpdir("push_server-versions") }
  after { FileUtils.rm_rf(@folder) }

  def load_path = File.join(@folder, "lib")

  # A copy whose files are changed: name => [text, other text].
  def other_version(changes)
    source = File.join(AppProcess::ROOT, "lib")
    Dir.glob("**/*", base: source) do |name|
      from, to = File.join(source, name), File.join(@folder, "other", name)
      next FileUtils.mkdir_p(to) if File.directory?(from)
      next File.symlink(from, to) unless name.end_with?(".rb")

      File.write(to, changes.key?(name) ? changed(File.read(from), *changes[name]) : File.read(from))
    end
  end

  def changed(text, former, now)
    raise "there is no #{former.inspect}" unless text.match?(former)

    text.sub(former, now)
  end

  def use(folder)
    File.symlink(folder, "#{load_path}.new")
    File.rename("#{load_path}.new", load_path)
  end

  def start_cluster
    use(File.join(AppProcess::ROOT, "lib"))
    start_app("require 'push_server'\nrun ->(_) { [200, {}, [PushServer::VERSION]] }\n", "-w", 2, env: { "RUBYLIB" => load_path })
    app.wait_for_line(/All 2 workers serve/)
  end

  def version
    client = http
    client.get("/").body
  ensure
    client&.close
  end

  it "is refused at USR1 if it has another protocol, and taken at USR2" do
    other_version("push_server/version.rb" => [/VERSION = ".*"/, 'VERSION = "99.0.0"'],
                  "push_server/process/protocol.rb" => [/NUMBER = \d+/, "NUMBER = 99"])
    start_cluster
    former = version
    use("other")
    app.signal("USR1")
    expect_line(/given up: .*push_server 99\.0\.0 cannot run under a supervisor of push_server #{former}.*use push_server restart/)
    expect(version).to eq(former)

    app.signal("USR2")
    app.wait_for_line(/Executed push_server 99\.0\.0/)
    app.wait_for_line(/the phased restart is done/)
    expect(Array.new(10) { version }.uniq).to eq(["99.0.0"])
    expect(app.stop).to be_success
  end

  it "is refused at USR2 if it cannot take over, and nothing changes" do
    other_version("push_server/process/supervisor/state.rb" => [/READABLE = .*/, "READABLE = (98..99)"])
    start_cluster
    former = version
    use("other")
    app.signal("USR2")
    expect_line(/not restarted: push_server \S+ cannot take over from \S+\. Stop the server, and start it again\. Nothing has changed/)
    expect(version).to eq(former)
    expect(app.tree.workers.size).to eq(2)
    expect(app.stop).to be_success
  end
end
