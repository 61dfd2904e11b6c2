# frozen_string_literal: true

require "tmpdir"
require "push_server/rack/rackup_file"
require_relative "unit_helper"

RSpec.describe PushServer::RackupFile do
  around { |example| Dir.mktmpdir { |dir| Dir.chdir(dir) { example.run } } }

  def load(source, path = "config.ru")
    File.write(path, source)
    described_class.new(path).load
  end

  def call(app) = app.call({}).last

  it "makes an app of a config.ru" do
    expect(call(load("run ->(_) { [200, {}, [__FILE__]] }"))).to eq([File.expand_path("config.ru")])
  end

  it "looks for config.ru here, and in a folder" do
    load("run ->(_) { [200, {}, ['here']] }")
    expect(call(described_class.new.load)).to eq(["here"])
    Dir.mkdir("sub")
    load("run ->(_) { [200, {}, ['there']] }", "sub/config.ru")
    expect(call(described_class.new("sub").load)).to eq(["there"])
  end

  it "loads a Ruby file with the app in a constant" do
    expect(call(load("ConfigFileApp = ->(_) { [200, {}, ['constant']] }", "config_file_app.rb"))).to eq(["constant"])
  end

  it "ignores a line of options and what follows __END__" do
    app = load("\uFEFF#\\ -p 1 -s other\nrun ->(_) { [200, {}, [__LINE__]] }\n__END__\nnot ruby (")
    expect(call(app)).to eq([2])
  end

  describe "errors, each in one line" do
    def error
      yield
    rescue PushServer::ConfigError => e
      expect(e.message).not_to include("\n")
      e.message
    end

    {
      "\n\nraise ArgumentError, \"first\\nsecond\"" => "config.ru:3: first (ArgumentError)",
      "require 'no/such/library'" => "config.ru:1: cannot load such file -- no/such/library (LoadError)",
      "run 3" => "config.ru: what it runs has no method call: 3",
      "" => /\Aconfig.ru: missing run or map statement \(RuntimeError\)\z/,
      "run 1\n)" => /\Aconfig.ru:2: .*(unexpected|unmatched).*\(SyntaxError\)\z/,
      "\ndef self.a = a\na" => /\Aconfig.ru:2: stack level too deep \(SystemStackError\)\z/
    }.each do |source, message|
      it "says for #{source.inspect} where and what" do
        expect(error { load(source) }).to match(message)
      end
    end

    it "names the file that has raised, if it is the app's own" do
      Dir.mkdir("lib")
      File.write("lib/part.rb", "\n\nmissing_method_here\n")
      expect(error { load("require_relative 'lib/part'") }).to match(%r{\Alib/part.rb:3: undefined .*\(NameError\)\z})
    end

    it "says that there is no file" do
      expect(error { described_class.new }).to start_with("there is no config.ru in #{Dir.pwd}: name one")
      expect(error { described_class.new("other.ru") }).to eq("there is no other.ru: name one that is there")
      expect(error { described_class.new(Dir.pwd) }).to eq("there is no #{Dir.pwd}/config.ru: name one that is there")
    end
  end

  it "lets the app exit" do
    expect { load("exit 3") }.to raise_error(SystemExit)
  end
end
