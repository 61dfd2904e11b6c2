# frozen_string_literal: true

require "push_server"

# docs/options.md, made from the one table of options.
module OptionsPage
  PATH = File.expand_path("../docs/options.md", __dir__)

  HEAD = <<~MARKDOWN
    # Options, limits and timeouts

    `bin/run rake docs` writes this page from the table of options in the code. `push_server --help` has the same texts.

    * **Command line**: write the names as below, in full: `--max-queue 64`.
    * **Configuration file**: write the names in snake_case: `max_queue 64`. [configuration.md](configuration.md) says where it is.
    * **Ruby** (`PushServer.run`, `PushServer::Server.init`): write the names in snake_case: `max_queue: 64`.
    * **rackup**: write the names in CamelCase: `-O MaxQueue=64`.

    Sizes are in bytes, or have a unit: `64KiB`, `1MiB`. Times are in seconds, and may be fractions, unless the option says ms.
    Some options can be switched off: in Ruby with nil, on the command line with `off` for a timeout, a size, a socket and metrics, and
    with `''` for a name, a path, a folder and a secret.
  MARKDOWN

  module_function

  def markdown
    groups = PushServer::Options::TABLE.each_value.reject { |option| option.switches.empty? }.group_by(&:group)
    [HEAD, *groups.map { |group, options| section(group, options) }].join("\n")
  end

  def section(group, options)
    rows = options.map { |option| "| #{switches(option)} | #{default(option)} | #{option.doc.gsub("|", "\\|")} |\n" }
    "## #{group}\n\n| option | default | |\n|---|---|---|\n#{rows.join}"
  end

  def switches(option)
    last = option.switches.last
    last = option.flag? ? "--[no-]#{last[2..]}" : "#{last} #{option.metavar}"
    "`#{[*option.switches[..-2], last].join("`, `")}`"
  end

  def default(option) = [*option.env.map { |name| "`$#{name}`" }, option.default_text].compact.join(", ")
end
