# frozen_string_literal: true

require "json"
require "yaml"

# The files of docs/deployment for containers, as Docker reads them.
module ContainerFiles
  FOLDER = File.expand_path("../../docs/deployment", __dir__)

  # An instruction of a Dockerfile, such as `USER 1000`.
  Instruction = Struct.new(:name, :text) do
    # The words of the exec form; nil of the shell form.
    def exec = text[/\[.*\]/] && JSON.parse(text[/\[.*\]/])
  end

  # name: of the stage. from: of the image or the stage in which it begins.
  Stage = Struct.new(:from, :name, :instructions) do
    def all(name) = instructions.select { |instruction| instruction.name == name }
  end

  # The stages of the Dockerfile.
  def self.stages
    lines = File.read(File.join(FOLDER, "Dockerfile")).gsub(/^#.*\n/, "").gsub(/\\\n/, " ").lines.map(&:strip).reject(&:empty?)
    all = lines.map { |line| Instruction.new(*line.split(" ", 2)) }.slice_before { |instruction| instruction.name == "FROM" }
    all.select { |first,| first.name == "FROM" }.map do |first, *rest|
      from, name = first.text.split(/ AS /i)
      Stage.new(from, name.to_s, rest)
    end
  end

  # The stages that the final image consists of, the first one first.
  def self.image
    stages.last.then do |stage|
      chain = [stage]
      chain.unshift(stage) while (stage = stages.find { |other| other.name == stage.from })
      chain
    end
  end

  # The last instruction of this name that the image has.
  def self.last(name) = image.flat_map { |stage| stage.all(name) }.last

  # The environment variables of the image.
  def self.env
    image.flat_map { |stage| stage.all("ENV") }.flat_map { |it| it.text.scan(/(\S+?)=(\S+)/) }.to_h
  end

  def self.yaml(name) = YAML.safe_load(File.read(File.join(FOLDER, name)), aliases: true)

  # The service of compose.yaml that serves.
  def self.service = yaml("compose.yaml").fetch("services").fetch("app")

  # Seconds that compose gives the container to stop.
  def self.stop_grace_period = Integer(service.fetch("stop_grace_period")[/\A(\d+)s\z/, 1])

  # The folders in memory: path => options of the mount.
  def self.tmpfs = service.fetch("tmpfs").to_h { |entry| entry.split(":", 2).values_at(0, 1) }
end
