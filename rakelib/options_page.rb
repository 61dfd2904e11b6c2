# frozen_string_literal: true

require "push_server"

# docs/options.md, made from the one table of options.
module OptionsPage
  PATH = File.expand_path("../docs/options.md", __dir__)

  HEAD = <<~MARKDOWN
    # Options, limits and timeouts

    Made by `bin/run rake docs` from the table that the server itself uses; `push_server --help` says the same.

    On the command line write the names as here, in full; in Ruby (`PushServer.run`, `PushServer::Server.init`) in snake_case,
    as `max_queue: 64`; for `rackup` as `-O MaxQueue=64`. Sizes are bytes, or have a unit (`64KiB`); times are seconds unless
    it says ms, and may be fractions. What can be off takes `off`, in Ruby nil.
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

  def switches(option) = "`#{[*option.switches[..-2], "#{option.switches.last} #{option.metavar}"].join("`, `")}`"

  def default(option) = [*option.env.map { |name| "`$#{name}`" }, option.default_text].compact.join(", ")
end
