"""What boards of several generations say, as files and words of the firmware's tool, and what the meters make of it.

Put together from documentation and from what users of these boards have published, which each row names; nothing here
was recorded on hardware of ours.
"""

from dataclasses import dataclass, field

HWMON, THERMAL = "sys/class/hwmon/hwmon", "sys/class/thermal/"
IIO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"

PMIC_5 = """\
 3V7_WL_SW_A current(0)=0.09466522A
   3V3_SYS_A current(1)=0.08197812A
   1V8_SYS_A current(2)=0.15029320A
  DDR_VDD2_A current(3)=0.00390372A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.20299340A
    0V8_SW_A current(6)=0.30546610A
  VDD_CORE_A current(7)=1.11625000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00018315A
   0V8_AON_A current(16)=0.00274725A
      HDMI_A current(22)=0.01660560A
 3V7_WL_SW_V volt(8)=3.62925200V
   3V3_SYS_V volt(9)=3.31652900V
   1V8_SYS_V volt(10)=1.79877700V
  DDR_VDD2_V volt(11)=1.10146400V
  DDR_VDDQ_V volt(12)=0.60622650V
   1V1_SYS_V volt(13)=1.10402800V
    0V8_SW_V volt(14)=0.79853400V
  VDD_CORE_V volt(15)=0.74944980V
   3V3_DAC_V volt(20)=3.31043600V
   3V3_ADC_V volt(21)=3.31684600V
   0V8_AON_V volt(19)=0.79794790V
      HDMI_V volt(23)=5.10138000V
     EXT5V_V volt(24)=5.08530000V
      BATT_V volt(25)=0.00000000V
"""


@dataclass(frozen=True)
class BoardOutput:
    """One board: its files, the firmware's word in the mailbox, the tool's words, and the samples expected by name."""

    name: str
    source: str
    files: dict[str, object] = field(default_factory=dict)
    mailbox: int | None = None
    tool: dict[str, str] = field(default_factory=dict)
    says: dict[str, float] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    power_w: float | None = None
    power_method: str = ""


def rails(chip: int, name: str, *channels: tuple[str, int, int]) -> dict[str, object]:
    """An INA3221: label, millivolts and milliamperes of each channel."""
    files: dict[str, object] = {f"{HWMON}{chip}/name": name}
    for n, (label, millivolts, milliamperes) in enumerate(channels, 1):
        files |= {f"{HWMON}{chip}/in{n}_label": label, f"{HWMON}{chip}/in{n}_input": millivolts}
        files |= {f"{HWMON}{chip}/curr{n}_input": milliamperes}
    return files


BOARDS = (
    BoardOutput(
        "raspberry-pi-3b-plus",
        "raspberrypi/linux pull request 2397 (0x00050005 under load); the file's form: drivers/firmware/raspberrypi.c",
        {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005", f"{THERMAL}thermal_zone0/temp": 61224},
        says={
            "undervoltage": 1,
            "throttled_now": 1,
            "undervoltage_since_boot": 1,
            "throttled_since_boot": 1,
            "temperature": 61.224,
        },
        methods={"undervoltage": "sysfs get_throttled"},
    ),
    BoardOutput(
        "raspberry-pi-3b-plus, cool again",
        "raspberrypi/linux pull request 2397; MichaIng/DietPi issue 3225 (0x50000: it was so, and is not any more)",
        {"sys/devices/platform/soc/soc:firmware/get_throttled": "50000"},
        says={"undervoltage": 0, "throttled_now": 0, "undervoltage_since_boot": 1, "throttled_since_boot": 1},
    ),
    BoardOutput(
        "raspberry-pi-4, kernel of Debian",
        "Linux drivers/hwmon/raspberrypi-hwmon.c and Documentation/hwmon/raspberrypi-hwmon.rst",
        {
            f"{HWMON}0/name": "cpu_thermal",
            f"{HWMON}0/temp1_input": 55504,
            f"{HWMON}1/name": "rpi_volt",
            f"{HWMON}1/in0_lcrit_alarm": 1,
            f"{THERMAL}cooling_device0/type": "cpufreq-cpu0",
            f"{THERMAL}cooling_device0/cur_state": 0,
        },
        says={"undervoltage": 1, "throttled_now": 0, "temperature": 55.504},
        methods={
            "undervoltage": "hwmon rpi_volt",
            "throttled_now": "cpu cooling devices",
            "temperature": "cpu_thermal",
        },
    ),
    BoardOutput(
        "raspberry-pi-5",
        "ml-energy/zeus issue 273 (its hwmon devices; rails with a current and without); vcgencmd pmic_read_adc as "
        "published in tutorials for the board; no get_throttled in sysfs, the node is soc@107c000000:firmware",
        {
            f"{HWMON}0/name": "cpu_thermal",
            f"{HWMON}0/temp1_input": 48850,
            f"{HWMON}1/name": "rp1_adc",
            f"{HWMON}1/in1_input": 1496,
            f"{HWMON}2/name": "pwmfan",
            f"{HWMON}3/name": "rpi_volt",
            f"{HWMON}3/in0_lcrit_alarm": 0,
            f"{THERMAL}cooling_device0/type": "pwm-fan",
            f"{THERMAL}cooling_device0/cur_state": 3,
        },
        mailbox=0x50000,
        tool={"pmic_read_adc": PMIC_5, "get_throttled": "throttled=0x50000\n"},
        says={
            "undervoltage": 0,
            "throttled_now": 0,
            "undervoltage_since_boot": 1,
            "throttled_since_boot": 1,
            "supply_voltage": 5.0853,
        },
        methods={
            "undervoltage": "firmware mailbox + hwmon rpi_volt",
            "supply_voltage": "pmic_read_adc EXT5V_V, lowest",
        },
        power_w=2.28221,
        power_method="pmic_read_adc (without 5 V devices)",
    ),
    BoardOutput(
        "raspberry-pi-zero-2w, without the right to use the mailbox",
        "raspberrypi/documentation, vcgencmd get_throttled: bits 3 and 19, the soft temperature limit",
        tool={"get_throttled": "throttled=0x80008\n", "pmic_read_adc": 'error=1 error_msg="Command not registered"'},
        says={"undervoltage": 0, "throttled_now": 1, "undervoltage_since_boot": 0, "throttled_since_boot": 1},
        methods={"throttled_now": "vcgencmd get_throttled"},
    ),
    BoardOutput(
        "compute-module-4",
        "raspberrypi/documentation, vcgencmd get_throttled: bit 17, capped and over; raspberrypi/linux vcio.c",
        mailbox=0x20000,
        says={"undervoltage": 0, "throttled_now": 0, "undervoltage_since_boot": 0, "throttled_since_boot": 1},
        methods={"throttled_now": "firmware mailbox"},
    ),
    BoardOutput(
        "jetson-nano, L4T 32",
        "MartinMatta/Jetson-Nano-temperature issue 2 (its zones); balena-os/balena-jetson issue 142 (PMIC-Die "
        "always says 100); energymon/energymon jetson/JetsonPowerRails.md and "
        "Pablouc/jetson-gpu-benchmarking (rails, paths)",
        {
            f"{THERMAL}thermal_zone0/type": "AO-therm",
            f"{THERMAL}thermal_zone0/temp": 41500,
            f"{THERMAL}thermal_zone1/type": "CPU-therm",
            f"{THERMAL}thermal_zone1/temp": 33500,
            f"{THERMAL}thermal_zone4/type": "PMIC-Die",
            f"{THERMAL}thermal_zone4/temp": 100000,
            f"{IIO}rail_name_0": "POM_5V_IN",
            f"{IIO}in_power0_input": 2340,
            f"{IIO}rail_name_1": "POM_5V_GPU",
            f"{IIO}in_power1_input": 40,
            f"{IIO}rail_name_2": "POM_5V_CPU",
            f"{IIO}in_power2_input": 488,
        },
        says={"temperature": 41.5},
        methods={"temperature": "AO-therm"},
        power_w=2.34,
        power_method="hwmon ina3221x POM_5V_IN",
    ),
    BoardOutput(
        "jetson-xavier-nx, L4T 35",
        "energymon/energymon jetson/JetsonPowerRails.md (rails); Linux Documentation/hwmon/ina3221.rst: in4 to in6 are "
        "voltages at the shunts, in7 and curr4 sums",
        rails(3, "ina3221", ("VDD_IN", 5000, 1200), ("VDD_CPU_GPU_CV", 5000, 300), ("VDD_SOC", 5000, 260))
        | {f"{HWMON}3/in4_input": 60000, f"{HWMON}3/curr4_input": 1760, f"{HWMON}3/in7_label": "sum of shunt voltages"},
        power_w=6.0,
        power_method="hwmon ina3221 VDD_IN",
    ),
    BoardOutput(
        "jetson-agx-xavier",
        "energymon/energymon jetson/JetsonPowerRails.md: no rail feeds all, six rails are the board; "
        "laminair/jetson_stats_node_exporter issue 29: a zone that is off says -256",
        rails(1, "ina3221", ("GPU", 19000, 50), ("CPU", 19000, 40), ("SOC", 19000, 80))
        | rails(2, "ina3221", ("CV", 19000, 0), ("VDDRQ", 19000, 30), ("SYS5V", 5000, 400))
        | {
            f"{THERMAL}thermal_zone0/type": "CPU-therm",
            f"{THERMAL}thermal_zone0/temp": 39500,
            f"{THERMAL}thermal_zone1/type": "GPU-therm",
            f"{THERMAL}thermal_zone1/temp": -256000,
        },
        says={"temperature": 39.5},
        power_w=5.8,
        power_method="hwmon ina3221 CPU+CV+GPU+SOC+SYS5V+VDDRQ",
    ),
    BoardOutput(
        "i.mx 8m",
        "Linux Documentation/driver-api/thermal/cpu-cooling-api.rst, Documentation/admin-guide/pm/cpufreq.rst; a Coral "
        "module by the gasket driver (google-coral)",
        {
            f"{THERMAL}thermal_zone0/type": "cpu-thermal",
            f"{THERMAL}thermal_zone0/temp": 86000,
            f"{THERMAL}cooling_device0/type": "cpufreq-cpu0",
            f"{THERMAL}cooling_device0/cur_state": 1,
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": 1200000,
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": 1500000,
            "sys/class/apex/apex_0/temp": 71800,
        },
        says={"throttled_now": 1, "temperature": 86.0, "temperature_edgetpu": 71.8, "frequency_limit": 0.8},
    ),
    BoardOutput(
        "x86, Intel",
        "Linux drivers/thermal/intel/therm_throt.c; prometheus/node_exporter, collector cpu; an idle powerclamp says "
        "-1 (drivers/thermal/intel/intel_powerclamp.c)",
        {
            f"{THERMAL}cooling_device0/type": "Processor",
            f"{THERMAL}cooling_device0/cur_state": 0,
            f"{THERMAL}cooling_device1/type": "intel_powerclamp",
            f"{THERMAL}cooling_device1/cur_state": -1,
            f"{THERMAL}thermal_zone0/type": "x86_pkg_temp",
            f"{THERMAL}thermal_zone0/temp": 52000,
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": 7,
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 9,
            "sys/class/powercap/intel-rapl:0/name": "package-0",
            "sys/class/powercap/intel-rapl:0/energy_uj": 1000,
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 262143328850,
        },
        says={"throttled_now": 0, "throttled_since_boot": 1, "temperature": 52.0},
        methods={"throttled_since_boot": "thermal_throttle counts"},
    ),
    BoardOutput(
        "x86, AMD",
        "Linux Documentation/hwmon/k10temp.rst: no thermal zone",
        {f"{HWMON}0/name": "k10temp", f"{HWMON}0/temp1_input": 47625},
        says={"temperature": 47.625},
        methods={"temperature": "k10temp"},
    ),
    BoardOutput("nothing at all", "a container without /sys"),
)
