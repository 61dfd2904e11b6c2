# frozen_string_literal: true

require "spec_helper"

# What the command prints when loading the app fails: where in the app, and why.
RSpec.describe "push_server, with a config.ru that raises," do
  include Command

  # What the command prints, without the folder it runs in; its status must be 1.
  def told(files, *options)
    result = push_server(*options, files: files)
    expect([result.out, result.exitstatus]).to eq(["", 1])
    result.complaint
  end

  # Some lines of the backtrace are in Ruby's own library.
  part = <<~RUBY
    require "find"

    def connect(url)
      raise ArgumentError, "no such host: \#{url}\nis the network up?"
    end

    def boot = Find.find(__dir__) { connect("db") }
  RUBY

  it "prints class, message and the app's own lines" do
    lines = told({ "part.rb" => part, "config.ru" => "require_relative 'part'\n\nboot\n" })
    expect(lines.first).to eq("push_server: part.rb:4: no such host: db (ArgumentError)")
    expect(lines).to include("      is the network up?", match(/\A    from part.rb:4:in .*connect/),
                             match(/\A    from part.rb:8:in .*boot/), match(/\A    from config.ru:3:in /))
    expect(lines.join("\n")).not_to match(%r{find\.rb|rack/builder|push_server/|exe/})
  end

  it "prints the whole backtrace with -v" do
    lines = told({ "part.rb" => part, "config.ru" => "require_relative 'part'\n\nboot\n" }, "-v")
    expect(lines.first).to eq("push_server: part.rb:4: no such host: db (ArgumentError)")
    expect(lines.join("\n")).to match(/part.rb:4:in .*connect.*find\.rb.*config.ru:3:in .*rack.builder.*rackup_file/m)
  end

  it "names the line of a syntax error, also in a file that config.ru requires" do
    lines = told({ "config.ru" => "\nrun 1\n)" })
    expect(lines.first).to match(/\Apush_server: config.ru:3: .+\(SyntaxError\)\z/)
    lines = told({ "part.rb" => "def a(\n", "config.ru" => "\nrequire_relative 'part'" })
    expect(lines.first).to match(/\Apush_server: part.rb:\d: .+\(SyntaxError\)\z/)
    expect(lines).to include(match(/\A    from config.ru:2:in /))
  end

  it "names the library that is missing, and the line that requires it" do
    lines = told({ "part.rb" => "require 'no/such'", "config.ru" => "require_relative 'part'" })
    expect(lines.first).to eq("push_server: part.rb:1: cannot load such file -- no/such (LoadError)")
    # Bundler's own `require` adds a line.
    expect(lines.drop(1)).to include(/\A    from part.rb:1:in /, /\A    from config.ru:1:in /)
  end

  it "prints the causes of the exception, too" do
    source = "def a = raise(KeyError, 'inner')\nbegin\n  a\nrescue KeyError\n  raise 'outer'\nend"
    lines = told({ "config.ru" => source })
    expect(lines.first).to eq("push_server: config.ru:5: outer (RuntimeError)")
    expect(lines).to include(match(/\A    caused by KeyError: inner$/), match(/\A    from config.ru:1:in .*a/))
  end

  it "prints one line for every kind of exception" do
    expect(told({ "config.ru" => "\nraise Exception, 'no StandardError'" }).first)
      .to eq("push_server: config.ru:2: no StandardError (Exception)")
    expect(told({ "config.ru" => "\nraise Class.new(StandardError) { def message = raise('again') }" }).first)
      .to match(/\Apush_server: config.ru:2: \(its message raises RuntimeError\)/)
    lines = told({ "config.ru" => "def a = a\na" })
    expect(lines.first).to eq("push_server: config.ru:1: stack level too deep (SystemStackError)")
    expect(lines.size).to be < 20
    expect(lines.last).to match(/\A    … and \d+ more \(-v shows all\)\z/)
  end

  it "exits with the status with which the config.ru exits" do
    expect(push_server(files: { "config.ru" => "exit 3" }).exitstatus).to eq(3)
    result = push_server(files: { "config.ru" => "abort 'not today'" })
    expect([result.err, result.exitstatus]).to eq(["not today\n", 1])
  end
end
